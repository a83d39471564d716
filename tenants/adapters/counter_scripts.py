"""Lua of the counters over Redis: `tenants.counting`, step by step. One tenant is one hash tag, so one cluster slot.

Keys of a tenant `{t}`: `rates` (hash: field → debt, field@ → its time), `sums:<kind>:<start>` (hash: field → settled,
field~ → held, field@ → when it was seeded), `running` (hash: field → count), `calls` (hash: call → what it holds),
`leases` (sorted set: call → expiry), `done` (sorted set: settled call → when it is forgotten). Times are milliseconds
of the server's clock. A field of a sum that is not there is not seeded: so an emptied Redis knows that it knows nothing.
"""

# What every script begins with. ARGV[1] is the time, 0 for the server's own (tests give their own). Calls of commands are
# what a script takes its time for, so fields of one key are read by one command and written by one.
_SHARED = """
local prefix = KEYS[1]
local now = tonumber(ARGV[1])
if now == 0 then
  local clock = redis.call('TIME')
  now = clock[1] * 1000 + math.floor(clock[2] / 1000)
end
local RATE, RUNNING, DAY = 0, 1, 2
local MINUTE = 60000
local rates, running = prefix .. 'rates', prefix .. 'running'
local calls, leases, done = prefix .. 'calls', prefix .. 'leases', prefix .. 'done'
local max, format = math.max, string.format

-- A line is {kind, field, limit, start, end, end of the next period}.
local function period(line, at)
  if at < line[5] then return line[4], line[5] end
  return line[5], line[6]
end

-- What the counters of lines show: of a rate its debt, of a sum what is settled and held (-1: it is not seeded), of a
-- running line the calls. Then what is held of each sum, the key of each line, and where its period starts: the present
-- one, unless `starts` says so.
local function look(lines, starts)
  local shown, held, keys, begun, fields, places = {}, {}, {}, {}, {}, {}
  local sums = {}
  for i, line in ipairs(lines) do
    local kind, key, beside = line[1], running, '@'
    begun[i] = 0
    if kind == RATE then
      key = rates
    elseif kind ~= RUNNING then
      local start = starts and starts[i] or period(line, now)
      local of_kind = sums[kind] or {}
      key = of_kind[start]
      if not key then
        key = prefix .. 'sums:' .. kind .. ':' .. format('%.0f', start)
        of_kind[start], sums[kind] = key, of_kind
      end
      begun[i], beside = start, '~'
    end
    keys[i] = key
    local asked, at = fields[key], places[key]
    if not asked then
      asked, at = {}, {}
      fields[key], places[key] = asked, at
    end
    local n = #at + 1
    at[n], asked[2 * n - 1], asked[2 * n] = i, line[2], line[2] .. beside
  end
  for key, asked in pairs(fields) do
    local found = redis.call('HMGET', key, unpack(asked))
    for n, i in ipairs(places[key]) do
      local first, second = found[2 * n - 1], found[2 * n]
      local kind = lines[i][1]
      if kind == RATE then
        shown[i] = first and max(0, first - lines[i][3] * max(0, now - second)) or 0
      elseif kind == RUNNING then
        shown[i] = tonumber(first or 0)
      else
        held[i] = tonumber(second or 0)
        shown[i] = first and first + held[i] or -1
      end
    end
  end
  return shown, held, keys, begun
end

-- Note that a field is to have a value; `write` writes all that was noted. Counts of calls that run go when they are 0.
local function note(changes, key, field, value)
  local list = changes[key]
  if not list then
    list = {}
    changes[key] = list
  end
  local n = #list
  list[n + 1], list[n + 2] = field, format('%.0f', value)
end

local function write(changes)
  for key, list in pairs(changes) do redis.call('HSET', key, unpack(list)) end
end

local function note_running(changes, gone, field, value)
  if value > 0 then note(changes, running, field, value) else gone[#gone + 1] = field end
end

local function drop_running(gone)
  if #gone > 0 then redis.call('HDEL', running, unpack(gone)) end
end

-- What a call held is free; `used` is booked. Without it (the call's process died) rates stay as they are.
local function free(call, packed, used)
  local record = cmsgpack.unpack(packed)
  local lines, values = cmsgpack.unpack(record[1]), cmsgpack.unpack(record[2])
  local shown, held, keys = look(lines, record[3])
  local changes, gone = {}, {}
  for i, line in ipairs(lines) do
    local kind, field = line[1], line[2]
    if kind == RATE then
      if used and used[i] ~= values[i] then
        note(changes, rates, field, max(0, shown[i] + (used[i] - values[i]) * MINUTE))
        note(changes, rates, field .. '@', now)
      end
    elseif kind == RUNNING then
      if record[4] then note_running(changes, gone, field, shown[i] - 1) end
    elseif shown[i] >= 0 then
      note(changes, keys[i], field .. '~', held[i] - values[i])
      if used then note(changes, keys[i], field, shown[i] - held[i] + used[i]) end
    end
  end
  write(changes)
  drop_running(gone)
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

# ARGV: time, lease_ms, call, lines, values (both packed).
# Returns {0, now, running, counts…}, {1, now, index of the line that refuses, wait_ms, counts…} or {2, now, index, index, …}.
RESERVE = (
    _SHARED
    + """
local lease_ms, call = tonumber(ARGV[2]), ARGV[3]
local lines, values = cmsgpack.unpack(ARGV[4]), cmsgpack.unpack(ARGV[5])
sweep()
local shown, held, keys, starts = look(lines)
local unseeded, room, refused, wait, terminal = {2, now}, true, -1, -1, false

local function refuse(i, ms, final)
  if (final and not terminal) or (final == terminal and ms > wait) then
    refused, wait, terminal = i - 1, ms, final
  end
end

for i, line in ipairs(lines) do
  local kind = line[1]
  if kind == RATE then
    local over = shown[i] + (values[i] - line[3]) * MINUTE
    if over > 0 then refuse(i, math.ceil(over / line[3]), false) end
  elseif kind == RUNNING then
    if shown[i] >= line[3] then room = false end
  elseif shown[i] < 0 then
    unseeded[#unseeded + 1] = i - 1
  elseif shown[i] + values[i] > line[3] then
    local _, finish = period(line, now)
    refuse(i, max(0, finish - now), true)
  end
end
if #unseeded > 2 then return unseeded end
if refused >= 0 then return {1, now, refused, wait, unpack(shown)} end

local changes = {}
for i, line in ipairs(lines) do
  local kind, field = line[1], line[2]
  if kind == RATE then
    shown[i] = shown[i] + values[i] * MINUTE
    note(changes, rates, field, shown[i])
    note(changes, rates, field .. '@', now)
  elseif kind == RUNNING then
    if room then
      shown[i] = shown[i] + 1
      note(changes, running, field, shown[i])
    end
  else
    shown[i] = shown[i] + values[i]
    note(changes, keys[i], field .. '~', held[i] + values[i])
  end
end
write(changes)
redis.call('PEXPIRE', rates, 86400000)
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
local lines = {}
for _, line in ipairs(cmsgpack.unpack(record[1])) do
  if line[1] == RUNNING then lines[#lines + 1] = line end
end
local shown = look(lines)
local changes, gone = {}, {}
for i, line in ipairs(lines) do
  if take and shown[i] >= line[3] then return 0 end
  note_running(changes, gone, line[2], shown[i] + (take and 1 or -1))
end
write(changes)
drop_running(gone)
record[4] = take
redis.call('HSET', calls, call, cmsgpack.pack(record))
return 1
"""
)

# ARGV: time, call, lines, values used (both packed), at_ms, remember_ms. Returns 1, or 0 when it was done before.
SETTLE = (
    _SHARED
    + """
local call, at = ARGV[2], tonumber(ARGV[5])
redis.call('ZREMRANGEBYSCORE', done, '-inf', now)
if redis.call('ZADD', done, 'NX', now + tonumber(ARGV[6]), call) == 0 then return 0 end
redis.call('PEXPIRE', done, tonumber(ARGV[6]))
local used = cmsgpack.unpack(ARGV[4])
local packed = redis.call('HGET', calls, call)
if packed then
  free(call, packed, used)
  return 1
end
for i, line in ipairs(cmsgpack.unpack(ARGV[3])) do
  if line[1] >= DAY then
    local start = period(line, at)
    local key = prefix .. 'sums:' .. line[1] .. ':' .. format('%.0f', start)
    local seeded = redis.call('HGET', key, line[2] .. '@')
    if seeded and tonumber(seeded) < at then
      redis.call('HINCRBY', key, line[2], format('%.0f', used[i]))
    end
  end
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
