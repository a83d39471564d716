"""Lua of the counters over Redis: `tenants.counting`, step by step. One tenant is one hash tag, so one cluster slot.

Keys of a tenant `{t}`: `rates` (hash: field → debt, field@ → its time), `sums:<kind>:<start>` (hash: field → settled,
field~ → held, field@ → when it was seeded), `running` (hash: field → count), `calls` (hash: call → what it holds),
`leases` (sorted set: call → expiry), `done` (sorted set: settled call → when it is forgotten). Times are milliseconds
of the server's clock. A field of a sum that is not there is not seeded: so an emptied Redis knows that it knows nothing.
"""

# What every script begins with. ARGV[1] is the time, 0 for the server's own (tests give their own).
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

-- A line is {kind, field, limit, start, end, end of the next period}.
local function sums(line, start) return prefix .. 'sums:' .. line[1] .. ':' .. string.format('%.0f', start) end

local function period(line, at)
  if at < line[5] then return line[4], line[5] end
  return line[5], line[6]
end

local function debt_of(line)
  local found = redis.call('HMGET', rates, line[2], line[2] .. '@')
  if not found[1] then return 0 end
  return math.max(0, tonumber(found[1]) - line[3] * math.max(0, now - tonumber(found[2])))
end

local function owe(line, debt)
  redis.call('HSET', rates, line[2], string.format('%.0f', debt), line[2] .. '@', string.format('%.0f', now))
end

local function count(line, change)
  if redis.call('HINCRBY', running, line[2], change) <= 0 then redis.call('HDEL', running, line[2]) end
end

local function running_of(line) return tonumber(redis.call('HGET', running, line[2]) or 0) end

-- What a call held is free; `used` is booked. Without it (the call's process died) rates stay as they are.
local function free(call, packed, used)
  local record = cmsgpack.unpack(packed)
  local lines, values = cmsgpack.unpack(record[1]), cmsgpack.unpack(record[2])
  for i, line in ipairs(lines) do
    local kind = line[1]
    if kind == RATE then
      if used and used[i] ~= values[i] then
        owe(line, math.max(0, debt_of(line) + (used[i] - values[i]) * MINUTE))
      end
    elseif kind == RUNNING then
      if record[4] then count(line, -1) end
    else
      local key = sums(line, record[3][i])
      if redis.call('HEXISTS', key, line[2]) == 1 then
        redis.call('HINCRBY', key, line[2] .. '~', string.format('%.0f', -values[i]))
        if used then redis.call('HINCRBY', key, line[2], string.format('%.0f', used[i])) end
      end
    end
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

-- How a line stands: used, remaining, time until whole, seeded.
local function stand(answer, line)
  local kind, used, reset, seeded = line[1], 0, 0, 1
  if kind == RATE then
    local debt = debt_of(line)
    used, reset = math.ceil(debt / MINUTE), math.ceil(debt / line[3])
  elseif kind == RUNNING then
    used = running_of(line)
  else
    local start, finish = period(line, now)
    local found = redis.call('HMGET', sums(line, start), line[2], line[2] .. '~')
    if found[1] then used = tonumber(found[1]) + tonumber(found[2] or 0) else seeded = 0 end
    reset = math.max(0, finish - now)
  end
  local n = #answer
  answer[n + 1], answer[n + 2], answer[n + 3], answer[n + 4] = used, math.max(0, line[3] - used), reset, seeded
end
"""

# ARGV: time, lease_ms, call, lines, values (both packed).
# Returns {0, running, standings…}, {1, index of the line that refuses, wait_ms, standings…} or {2, index, index, …}.
RESERVE = (
    _SHARED
    + """
local lease_ms, call = tonumber(ARGV[2]), ARGV[3]
local lines, values = cmsgpack.unpack(ARGV[4]), cmsgpack.unpack(ARGV[5])
sweep()
local debts, starts, unseeded = {}, {}, {2}
local room, refused, wait, terminal = true, -1, -1, false

local function refuse(i, ms, final)
  if (final and not terminal) or (final == terminal and ms > wait) then
    refused, wait, terminal = i - 1, ms, final
  end
end

for i, line in ipairs(lines) do
  local kind = line[1]
  debts[i], starts[i] = 0, 0
  if kind == RATE then
    debts[i] = debt_of(line)
    local over = debts[i] + values[i] * MINUTE - line[3] * MINUTE
    if over > 0 then refuse(i, math.ceil(over / line[3]), false) end
  elseif kind == RUNNING then
    if running_of(line) >= line[3] then room = false end
  else
    local start, finish = period(line, now)
    starts[i] = start
    local found = redis.call('HMGET', sums(line, start), line[2], line[2] .. '~')
    if not found[1] then
      unseeded[#unseeded + 1] = i - 1
    elseif tonumber(found[1]) + tonumber(found[2] or 0) + values[i] > line[3] then
      refuse(i, math.max(0, finish - now), true)
    end
  end
end
if #unseeded > 1 then return unseeded end

local answer
if refused >= 0 then
  answer = {1, refused, wait}
else
  answer = {0, room and 1 or 0}
  for i, line in ipairs(lines) do
    local kind = line[1]
    if kind == RATE then
      owe(line, debts[i] + values[i] * MINUTE)
    elseif kind == RUNNING then
      if room then count(line, 1) end
    else
      redis.call('HINCRBY', sums(line, starts[i]), line[2] .. '~', string.format('%.0f', values[i]))
    end
  end
  redis.call('PEXPIRE', rates, 86400000)
  redis.call('HSET', calls, call, cmsgpack.pack({ARGV[4], ARGV[5], starts, room}))
  redis.call('ZADD', leases, now + lease_ms, call)
end
for _, line in ipairs(lines) do stand(answer, line) end
return answer
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
if take then
  for _, line in ipairs(lines) do
    if line[1] == RUNNING and running_of(line) >= line[3] then return 0 end
  end
end
for _, line in ipairs(lines) do
  if line[1] == RUNNING then count(line, take and 1 or -1) end
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
    local key = sums(line, start)
    local seeded = redis.call('HGET', key, line[2] .. '@')
    if seeded and tonumber(seeded) < at then
      redis.call('HINCRBY', key, line[2], string.format('%.0f', used[i]))
    end
  end
end
return 1
"""
)

# ARGV: time, lines (packed). Returns the standings.
READ = (
    _SHARED
    + """
local answer = {}
for _, line in ipairs(cmsgpack.unpack(ARGV[2])) do stand(answer, line) end
return answer
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
