"""Lua of the counters over Redis: `tenants.counting`, step by step. One tenant is one hash tag, so one cluster slot.

Keys of a tenant `{t}`: `rates` (hash: field → debt, field@ → its time), `sums:<kind>:<start>` (hash: field → settled,
field~ → held, field@ → when it was seeded), `running` (hash: field → count), `calls` (hash: call → what it holds),
`leases` (sorted set: call → expiry), `done` (sorted set: settled call → when it is forgotten). Times are milliseconds
of the server's clock. A field of a sum that is not there is not seeded: so an emptied Redis knows that it knows nothing.
"""

# What every script begins with. ARGV[1] is the time, 0 for the server's own (tests give their own). Commands, tables and
# texts are what a script takes its time for: the lines come laid out by key (`counter_layout`), so that what one key keeps
# of them is read by one command and written by one.
_SHARED = """
local prefix = KEYS[1]
local now = tonumber(ARGV[1])
if now == 0 then
  local clock = redis.call('TIME')
  now = clock[1] * 1000 + math.floor(clock[2] / 1000)
end
local stamp = string.format('%.0f', now)
local RATE, RUNNING = 0, 1
local MINUTE = 60000
local rates, running = prefix .. 'rates', prefix .. 'running'
local calls, leases, done = prefix .. 'calls', prefix .. 'leases', prefix .. 'done'

-- Lines are {fields of rates, their limits, fields of what runs, their limits, groups of sums, places}. A group is {kind,
-- start, end, end of the next period, fields, limits}. A rate has two fields (debt, its time), so has a sum (settled, held).
-- Numbers of lines count the rates, then what runs, then the sums; `places` says where a line stood when it was asked for.
local function period(group, at)
  if at < group[3] then return group[2], group[3] end
  return group[3], group[4]
end

local function sums(group, start)
  return prefix .. 'sums:' .. group[1] .. ':' .. string.format('%.0f', start)
end

-- What the counters of lines show: of a rate its debt, of what runs the calls, of a sum what is settled and held (-1: it is
-- not seeded). Then what is held of each sum, and the key and the start of each group: of the present period, unless
-- `starts` says so.
local function look(lines, starts)
  local shown, held, keys, begun = {}, {}, {}, {}
  local limits = lines[2]
  local before = #limits
  if before > 0 then
    local found = redis.call('HMGET', rates, unpack(lines[1]))
    for i = 1, before do
      local debt = found[2 * i - 1]
      if debt then
        local passed = now - found[2 * i]
        if passed > 0 then debt = debt - limits[i] * passed else debt = tonumber(debt) end
        if debt < 0 then debt = 0 end
      end
      shown[i] = debt or 0
    end
  end
  if #lines[3] > 0 then
    for i, found in ipairs(redis.call('HMGET', running, unpack(lines[3]))) do
      shown[before + i] = found and tonumber(found) or 0
    end
    before = before + #lines[3]
  end
  for g, group in ipairs(lines[5]) do
    local start = starts and starts[g] or period(group, now)
    local key = sums(group, start)
    local found = redis.call('HMGET', key, unpack(group[5]))
    local count = #group[6]
    for i = 1, count do
      local settled, holds = found[2 * i - 1], tonumber(found[2 * i] or 0)
      held[before + i] = holds
      shown[before + i] = settled and settled + holds or -1
    end
    keys[g], begun[g] = key, start
    before = before + count
  end
  return shown, held, keys, begun
end

local function write(key, list) if #list > 0 then redis.call('HSET', key, unpack(list)) end end

-- So many calls run of each of these fields; of which none does, nothing is kept.
local function note_running(fields, counts)
  local list, gone = {}, {}
  for i, field in ipairs(fields) do
    if counts[i] > 0 then
      list[#list + 1] = field
      list[#list + 1] = counts[i]
    else
      gone[#gone + 1] = field
    end
  end
  write(running, list)
  if #gone > 0 then redis.call('HDEL', running, unpack(gone)) end
end

-- What was held of lines is free; `used` is booked. Without it (the call's process died) rates stay as they are.
local function free_lines(lines, values, starts, runs, used)
  local shown, held, keys = look(lines, starts)
  local fields, list = lines[1], {}
  local before = #lines[2]
  if used then
    for i = 1, before do
      local change = used[i] - values[i]
      if change ~= 0 then
        local n = #list
        list[n + 1], list[n + 2] = fields[2 * i - 1], math.max(0, shown[i] + change * MINUTE)
        list[n + 3], list[n + 4] = fields[2 * i], stamp
      end
    end
    write(rates, list)
  end
  local count = #lines[3]
  if runs and count > 0 then
    local left = {}
    for i = 1, count do left[i] = shown[before + i] - 1 end
    note_running(lines[3], left)
  end
  before = before + count
  for g, group in ipairs(lines[5]) do
    fields, list, count = group[5], {}, #group[6]
    for i = 1, count do
      local at = before + i
      if shown[at] >= 0 then
        local n = #list
        list[n + 1], list[n + 2] = fields[2 * i], held[at] - values[at]
        if used then list[n + 3], list[n + 4] = fields[2 * i - 1], shown[at] - held[at] + used[at] end
      end
    end
    write(keys[g], list)
    before = before + count
  end
end

-- Before lines were laid out they were kept one by one, as {kind, field, limit, start, end, end of the next period}.
local function laid_out(line)
  local kind, field, limits = line[1], line[2], {line[3]}
  if kind == RATE then return {{field, field .. '@'}, limits, {}, {}, {}} end
  if kind == RUNNING then return {{}, {}, {field}, limits, {}} end
  return {{}, {}, {}, {}, {{kind, line[4], line[5], line[6], {field, field .. '~'}, limits}}}
end

local function free(call, packed, used)
  local record = cmsgpack.unpack(packed)
  local lines, values = cmsgpack.unpack(record[1]), cmsgpack.unpack(record[2])
  if type(lines[1][1]) == 'number' then
    for i, line in ipairs(lines) do
      free_lines(laid_out(line), {values[i]}, {record[3][i]}, record[4], nil)
    end
  else
    free_lines(lines, values, record[3], record[4], used)
  end
  redis.call('HDEL', calls, call)
  redis.call('ZREM', leases, call)
end

local function sweep()
  for _, call in ipairs(redis.call('ZRANGEBYSCORE', leases, '-inf', now)) do
    local packed = redis.call('HGET', calls, call)
    if packed then free(call, packed, nil) else redis.call('ZREM', leases, call) end
  end
end
"""

# ARGV: time, lease_ms, call, lines, values (both packed; values and counts go by the lines' numbers).
# Returns {0, now, running, counts…}, {1, now, place of the line that refuses, wait_ms, counts…} or {2, now, place, place, …}.
RESERVE = (
    _SHARED
    + """
local lease_ms, call = tonumber(ARGV[2]), ARGV[3]
local lines, values = cmsgpack.unpack(ARGV[4]), cmsgpack.unpack(ARGV[5])
sweep()
local shown, held, keys, starts = look(lines)
local places = lines[6]
local unseeded, room, refused, wait, terminal = {2, now}, true, -1, -1, false

local function refuse(i, ms, final)
  local place = places[i]
  if (final and not terminal) or (final == terminal and (ms > wait or (ms == wait and place < refused))) then
    refused, wait, terminal = place, ms, final
  end
end

local limits = lines[2]
local before = #limits
for i = 1, before do
  local over = shown[i] + (values[i] - limits[i]) * MINUTE
  if over > 0 then refuse(i, math.ceil(over / limits[i]), false) end
end
local fields_running, count = lines[3], #lines[3]
for i = 1, count do
  if shown[before + i] >= lines[4][i] then room = false end
end
before = before + count
for _, group in ipairs(lines[5]) do
  limits = group[6]
  for i = 1, #limits do
    local at = before + i
    if shown[at] < 0 then
      unseeded[#unseeded + 1] = places[at]
    elseif shown[at] + values[at] > limits[i] then
      local _, finish = period(group, now)
      refuse(at, math.max(0, finish - now), true)
    end
  end
  before = before + #limits
end
if #unseeded > 2 then return unseeded end
if refused >= 0 then return {1, now, refused, wait, unpack(shown)} end

local fields, list = lines[1], {}
before = #lines[2]
for i = 1, before do
  local debt, n = shown[i] + values[i] * MINUTE, 4 * i
  shown[i] = debt
  list[n - 3], list[n - 2], list[n - 1], list[n] = fields[2 * i - 1], debt, fields[2 * i], stamp
end
if before > 0 then
  write(rates, list)
  redis.call('PEXPIRE', rates, 86400000)
end
if room and count > 0 then
  list = {}
  for i = 1, count do
    local more = shown[before + i] + 1
    shown[before + i] = more
    list[2 * i - 1], list[2 * i] = fields_running[i], more
  end
  write(running, list)
end
before = before + count
for g, group in ipairs(lines[5]) do
  fields, list = group[5], {}
  for i = 1, #group[6] do
    local at = before + i
    shown[at] = shown[at] + values[at]
    list[2 * i - 1], list[2 * i] = fields[2 * i], held[at] + values[at]
  end
  write(keys[g], list)
  before = before + #group[6]
end
redis.call('HSET', calls, call, cmsgpack.pack({ARGV[4], ARGV[5], starts, room}))
redis.call('ZADD', leases, now + lease_ms, call)
return {0, now, room and 1 or 0, unpack(shown)}
"""
)

# Hold a call longer, and count it among those that run or no longer.
# ARGV: time, lease_ms, call, '' or '1' or '0'. Returns 1, or 0 when it is lost or there is no room.
RENEW = (
    _SHARED
    + """
local call, wanted = ARGV[3], ARGV[4]
if not redis.call('ZSCORE', leases, call) then return 0 end
redis.call('ZADD', leases, now + tonumber(ARGV[2]), call)
if wanted == '' then return 1 end
sweep()
local packed = redis.call('HGET', calls, call)
if not packed then return 0 end
local record = cmsgpack.unpack(packed)
local take = wanted == '1'
if record[4] == take then return 1 end
local lines = cmsgpack.unpack(record[1])
if #lines[3] > 0 then
  local counts = redis.call('HMGET', running, unpack(lines[3]))
  for i, found in ipairs(counts) do
    local runs = found and tonumber(found) or 0
    if take and runs >= lines[4][i] then return 0 end
    counts[i] = runs + (take and 1 or -1)
  end
  note_running(lines[3], counts)
end
record[4] = take
redis.call('HSET', calls, call, cmsgpack.pack(record))
return 1
"""
)

# ARGV: time, call, lines, values used (both packed), at_ms, remember_ms. Returns 1, or 0 when it was done before.
SETTLE = (
    _SHARED
    + """
local call, at_ms = ARGV[2], tonumber(ARGV[5])
redis.call('ZREMRANGEBYSCORE', done, '-inf', now)
if redis.call('ZADD', done, 'NX', now + tonumber(ARGV[6]), call) == 0 then return 0 end
redis.call('PEXPIRE', done, tonumber(ARGV[6]))
local used = cmsgpack.unpack(ARGV[4])
local packed = redis.call('HGET', calls, call)
if packed then
  free(call, packed, used)
  return 1
end
local lines = cmsgpack.unpack(ARGV[3])
local before = #lines[2] + #lines[3]
for _, group in ipairs(lines[5]) do
  local start = period(group, at_ms)
  local key = sums(group, start)
  for i = 1, #group[6] do
    local field = group[5][2 * i - 1]
    local seeded = redis.call('HGET', key, field .. '@')
    if seeded and tonumber(seeded) < at_ms then redis.call('HINCRBY', key, field, used[before + i]) end
  end
  before = before + #group[6]
end
return 1
"""
)

# ARGV: time, lines (packed). Returns {now, counts…}.
READ = (
    _SHARED
    + """
local shown = look(cmsgpack.unpack(ARGV[2]))
return {now, unpack(shown)}
"""
)

# ARGV: time, '1' to replace what is there, then for each seed: kind, start, field, used, at_ms, how long it is kept.
SEED = (
    _SHARED
    + """
local replace = ARGV[2] == '1'
for i = 3, #ARGV, 6 do
  local key = prefix .. 'sums:' .. ARGV[i] .. ':' .. ARGV[i + 1]
  local field = ARGV[i + 2]
  if replace or redis.call('HEXISTS', key, field) == 0 then
    redis.call('HSET', key, field, ARGV[i + 3], field .. '@', ARGV[i + 4])
    redis.call('PEXPIRE', key, ARGV[i + 5])
  end
end
return 1
"""
)


# What is kept of a tenant: its keys are few, and found by its prefix. ARGV: 1 to remove them. Returns how many there are.
OF_TENANT = """
local cursor, found = '0', {}
repeat
  local page = redis.call('SCAN', cursor, 'MATCH', KEYS[1] .. '*', 'COUNT', 1000)
  cursor = page[1]
  for _, key in ipairs(page[2]) do found[key] = true end
until cursor == '0'
local count = 0
for key in pairs(found) do
  count = count + 1
  if ARGV[1] == '1' then redis.call('DEL', key) end
end
return count
"""
