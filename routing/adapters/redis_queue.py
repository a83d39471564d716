"""Lua of the scheduler over Redis: `routing/queueing.py` once more, over the keys of one pool.

What is said there of bands, fairness, bounds and lanes is not said again here; functions have the same names, and a
differential test (`tests/routing/test_redis_queue.py`) holds both to the same grants, counters and answers. One pool is
one hash tag, so each script touches one slot of a cluster.

Keys of a pool, behind its prefix; `b` is a band by rank, `l` a lane (a digest of its replicas):
`n` numbers of the pool · `alive` owner → expiry · `own:<owner>` its tickets and leases · `t:<ticket>` one ticket or lease
· `run`, `flight` replica → calls, uncached tokens · `h<b>:<replica>`, `g<b>:<replica>` tenant → its calls there, weight · `tw` tenant → tickets that wait · `lanes` l → its replicas · `lw` l →
how many wait · `c<b>` tenant → used · `bw<b>`, `bg<b>`, `bj<b>`, `bl<b>` tenant → waiting, weight, joined, left ·
`bt<b>:<tenant>` its tickets as they came · `u<b>:<tenant>`, `uw<b>:<tenant>` user → used, waiting · `ul<b>` tenant → last
user · `a:<l>:<b>` arrivals · `lt:<l>:<b>` tenants by used · `lu:<l>:<b>:<tenant>` users by used ·
`lf:<l>:<b>:<tenant>:<user>` tickets as they came.

An owner is a process. Its tickets and leases live while it says so; those of one that died go with it.
"""

from routing import lanes, queueing, reckoning
from routing.adapters.redis_headroom import HEADROOM
from routing.balancing import ALIKE
from routing.bands import BANDS, SHARES, WHOLE
from routing.fairness import MOST_COUNTERS, READ_WEIGHT, UNITS, WRITE_WEIGHT


def _table(numbers: tuple[float, ...]) -> str:
    return "{" + ", ".join(str(each) for each in numbers) + "}"


_CONSTANTS = f"""
local SHARES, OVERDUE_MS, WHOLE, BANDS = {_table(SHARES)}, {_table(tuple(rule.overdue_ms for rule in BANDS))}, {WHOLE}, {len(BANDS)}
local READ_WEIGHT, WRITE_WEIGHT, UNITS, MOST_COUNTERS, ALIKE = {READ_WEIGHT}, {WRITE_WEIGHT}, {UNITS}, {MOST_COUNTERS}, {ALIKE}
local SMOOTHING, HOLD_SMOOTHING, ENOUGH, STALLED = {lanes.SMOOTHING}, {queueing.SMOOTHING}, {lanes.ENOUGH}, {reckoning.STALLED}
local DRAINED, LEAST_RETRY, LONGEST_RETRY, USUAL_RETRY = {reckoning.DRAINED}, {reckoning.LEAST_RETRY_MS}, {reckoning.LONGEST_RETRY_MS}, {reckoning.USUAL_RETRY_MS}
"""

# What every script begins with. ARGV: the time in milliseconds, or '' for the server's; the owner; how long it lives.
SHARED = (
    _CONSTANTS
    + """
local P, owner, lease_ms = KEYS[1], ARGV[2], tonumber(ARGV[3])
local now = tonumber(ARGV[1])
if not now then
  local clock = redis.call('TIME')
  now = clock[1] * 1000 + clock[2] / 1000
end
local call, floor, max, min = redis.call, math.floor, math.max, math.min

local function get(key, field) return tonumber(call('HGET', P .. key, field) or 0) end
local function put(key, field, value) call('HSET', P .. key, field, value) end
local function add(key, field, amount) return call('HINCRBY', P .. key, field, amount) end
local function exact(number) return number and string.format('%.17g', number) or '' end
local function key_of(name, ...) return P .. name .. table.concat({...}, ':') end
-- A count that is deleted when it is nothing.
local function less(key, field)
  local left = call('HINCRBY', P .. key, field, -1)
  if left <= 0 then call('HDEL', P .. key, field) end
  return left
end

local function load(id)
  local found = call('HMGET', P .. 't:' .. id, 'raw', 'st', 'owner', 'lane', 'seq', 'at', 'ordinal', 'replica', 'unread', 'reckoned')
  if not found[1] then return nil end
  local rec = cjson.decode(found[1])
  rec.raw, rec.st, rec.owner, rec.lane = found[1], found[2], found[3], found[4]
  rec.seq, rec.at, rec.ordinal = tonumber(found[5]), tonumber(found[6]), tonumber(found[7])
  rec.replica, rec.unread, rec.reckoned = found[8], tonumber(found[9]), tonumber(found[10])
  return rec
end

local function forget(rec)
  call('DEL', P .. 't:' .. rec.id)
  call('SREM', P .. 'own:' .. rec.owner, rec.id)
end

-- Replicas are {id, max, prefill_tps, uncached, extra_s, budget}.
local function is_open(each, running, flight)
  return running < each[2] and (each[6] == 0 or flight < each[6])
end

"""
    + HEADROOM
    + """
local function loads(replicas)
  local ids = {}
  for i, each in ipairs(replicas) do ids[i] = each[1] end
  if not ids[1] then return ids, ids end
  return call('HMGET', P .. 'run', unpack(ids)), call('HMGET', P .. 'flight', unpack(ids))
end

local function cheapest(replicas, turn, b, tenant)
  local running, flight = loads(replicas)
  local open, lowest = {}, nil
  for i, each in ipairs(replicas) do
    local calls, tokens = tonumber(running[i] or 0), tonumber(flight[i] or 0)
    if is_open(each, calls, tokens) and (is_wide(each, calls, tokens) or not has_enough(b, tenant, each)) then
      local cost = (tokens + each[4]) / each[3] + each[5]
      if not lowest or cost < lowest then lowest = cost end
      open[#open + 1] = {cost, calls / each[2], each}
    end
  end
  if #open < 2 then return open[1] and open[1][3] end
  local share, equals = nil, {}
  for _, found in ipairs(open) do
    if found[1] <= lowest * ALIKE and (not share or found[2] < share) then share = found[2] end
  end
  for _, found in ipairs(open) do
    if found[1] <= lowest * ALIKE and found[2] == share then equals[#equals + 1] = found[3] end
  end
  return equals[turn % #equals + 1]
end

-- Every lane with somebody in it, decoded once for each script.
local lane_replicas
local function all_lanes()
  if not lane_replicas then
    lane_replicas = {}
    local found = call('HGETALL', P .. 'lanes')
    for i = 1, #found, 2 do lane_replicas[found[i]] = cjson.decode(found[i + 1]) end
  end
  return lane_replicas
end

local function lane_of(replicas)
  local parts = {}
  for i, each in ipairs(replicas) do parts[i] = each[1] .. '|' .. each[2] .. '|' .. each[6] end
  return redis.sha1hex(table.concat(parts, ';'))
end

local function slots_of(replicas)
  local sum = 0
  for _, each in ipairs(replicas) do sum = sum + each[2] end
  return sum
end

-- The replicas of a lane that are open for somebody, and whether one of them is for everybody.
local function opened(replicas)
  local running, flight = loads(replicas)
  local found, wide = {}, false
  for i, each in ipairs(replicas) do
    local calls, tokens = tonumber(running[i] or 0), tonumber(flight[i] or 0)
    if is_open(each, calls, tokens) then
      found[#found + 1] = each
      wide = wide or is_wide(each, calls, tokens)
    end
  end
  return found, wide
end

-- The smallest counter in all lanes: of the tenants of a band, or of a tenant's users.
local function smallest(name, suffix)
  local least
  for lane in pairs(all_lanes()) do
    local first = call('ZRANGE', P .. name .. lane .. ':' .. suffix, 0, 0, 'WITHSCORES')
    if first[1] and (not least or tonumber(first[2]) < least) then least = tonumber(first[2]) end
  end
  return least
end
local function least(b) return smallest('lt:', b) end
local function least_of_users(b, tenant) return smallest('lu:', b .. ':' .. tenant) end

local function last(b) return call('HGET', P .. 'n', 'last' .. b) or '' end

local function cost(read, written, weight)
  return floor((READ_WEIGHT * read + WRITE_WEIGHT * written) * UNITS / weight)
end

local function lift(used_key, name, last_name, least_used)
  local from = least_used or get(used_key, last_name)
  put(used_key, name, max(from, get(used_key, name)))
end

local function charge(b, tenant, user, amount)
  local used = max(0, get('c' .. b, tenant) + amount)
  put('c' .. b, tenant, used)
  if call('HEXISTS', P .. 'bw' .. b, tenant) == 0 then return end
  for lane in pairs(all_lanes()) do call('ZADD', key_of('lt:', lane, b), 'XX', used, tenant) end
  local users = 'u' .. b .. ':' .. tenant
  if call('HEXISTS', P .. users, user) == 0 then return end
  used = max(0, get(users, user) + amount)
  put(users, user, used)
  for lane in pairs(all_lanes()) do call('ZADD', key_of('lu:', lane, b, tenant), 'XX', used, user) end
end

local function prune(b)
  local key = P .. 'c' .. b
  if call('HLEN', key) <= max(MOST_COUNTERS, get('n', 'prune' .. b)) then return end
  local keep = last(b)
  local from = least(b) or get('c' .. b, keep)
  local found = call('HGETALL', key)
  for i = 1, #found, 2 do
    local name = found[i]
    if tonumber(found[i + 1]) < from and name ~= keep and call('HEXISTS', P .. 'bw' .. b, name) == 0 then
      call('HDEL', key, name)
    end
  end
  put('n', 'prune' .. b, 2 * call('HLEN', key))
end

-- What a call is reckoned with; processes of an earlier version do not say.
local function work(name, rec, sign)
  -- Not as a product: -1 · 0 is written -0, which Redis takes for no integer.
  local tokens = rec.tokens or 0
  add('n', name, sign < 0 and 0 - tokens or tokens)
end

local function hold(rec, replica)
  changed()
  add('n', 'turn', 1)
  work('running_work', rec, 1)
  add('run', replica[1], 1)
  add('flight', replica[1], replica[4])
  local there = rec.rank .. ':' .. replica[1]
  add('h' .. there, rec.tenant, 1)
  put('g' .. there, rec.tenant, rec.weight)
  call('HSET', P .. 't:' .. rec.id, 'raw', rec.raw, 'st', 'h', 'owner', rec.owner, 'replica', replica[1],
    'unread', replica[4], 'reckoned', replica[4], 'at', now)
  call('SADD', P .. 'own:' .. rec.owner, rec.id)
  charge(rec.rank, rec.tenant, rec.user, cost(replica[4], 0, rec.weight))
end

local function join_lane(rec)
  local b, tenant = rec.rank, rec.tenant
  rec.lane = lane_of(rec.replicas)
  local line = rec.lane .. ':' .. b
  if call('HSETNX', P .. 'lanes', rec.lane, cjson.encode(rec.replicas)) == 1 then lane_replicas = nil end
  add('lw', rec.lane, 1)
  call('ZADD', P .. 'a:' .. line, rec.seq, rec.id)
  call('ZADD', P .. 'lt:' .. line, get('c' .. b, tenant), tenant)
  call('ZADD', key_of('lu:', line, tenant), get('u' .. b .. ':' .. tenant, rec.user), rec.user)
  call('ZADD', key_of('lf:', line, tenant, rec.user), rec.seq, rec.id)
  call('HSET', P .. 't:' .. rec.id, 'raw', rec.raw, 'lane', rec.lane)
end

local function leave_lane(rec)
  local line, tenant, user = rec.lane .. ':' .. rec.rank, rec.tenant, rec.user
  call('ZREM', P .. 'a:' .. line, rec.id)
  local fifo = key_of('lf:', line, tenant, user)
  call('ZREM', fifo, rec.id)
  if call('EXISTS', fifo) == 0 then
    call('ZREM', key_of('lu:', line, tenant), user)
    if call('EXISTS', key_of('lu:', line, tenant)) == 0 then call('ZREM', P .. 'lt:' .. line, tenant) end
  end
  if less('lw', rec.lane) <= 0 then
    call('HDEL', P .. 'lanes', rec.lane)
    lane_replicas = nil
  end
end

-- The ticket `rec`, which waits, may go where `to` says, the same ticket as it came in `raw`.
local function move(rec, to, raw)
  changed()
  leave_lane(rec)
  work('waiting_work', rec, -1)
  rec.replicas, rec.tokens, rec.raw = to.replicas, to.tokens, raw
  work('waiting_work', rec, 1)
  join_lane(rec)
end

local function remove(rec)
  local b, tenant, user = rec.rank, rec.tenant, rec.user
  changed()
  work('waiting_work', rec, -1)
  if add('n', 'waiting', -1) == 0 then put('n', 'waiting_work', 0) end
  less('tw', tenant)
  leave_lane(rec)
  add('n', 'wait' .. b, -1)
  if less('uw' .. b .. ':' .. tenant, user) <= 0 then put('ul' .. b, tenant, user) end
  call('ZREM', P .. 'bt' .. b .. ':' .. tenant, rec.id)
  add('bl' .. b, tenant, 1)
  local gone = less('bw' .. b, tenant) <= 0
  if gone then
    add('n', 'weight' .. b, 0 - get('bg' .. b, tenant))
    put('n', 'last' .. b, tenant)
    for _, name in ipairs({'bg', 'bj', 'bl', 'ul'}) do call('HDEL', P .. name .. b, tenant) end
    call('DEL', P .. 'u' .. b .. ':' .. tenant, P .. 'uw' .. b .. ':' .. tenant)
  end
  if gone then prune(b) end
end

local function cancel(rec)
  remove(rec)
  forget(rec)
end

local function release(rec, unused)
  changed()
  add('flight', rec.replica, 0 - rec.unread)
  local there = rec.rank .. ':' .. rec.replica
  if less('h' .. there, rec.tenant) <= 0 then call('HDEL', P .. 'g' .. there, rec.tenant) end
  work('running_work', rec, -1)
  if less('run', rec.replica) <= 0 then
    -- With the last call goes what processes of an earlier version have counted and not uncounted.
    call('HDEL', P .. 'flight', rec.replica)
    for b = 0, BANDS - 1 do call('DEL', key_of('h' .. b .. ':', rec.replica), key_of('g' .. b .. ':', rec.replica)) end
    if call('EXISTS', P .. 'run') == 0 then put('n', 'running_work', 0) end
  end
  if unused then
    charge(rec.rank, rec.tenant, rec.user, cost(-rec.reckoned, 0, rec.weight))
  else
    local hold_ms, holds = get('n', 'hold_ms'), get('n', 'holds')
    put('n', 'hold_ms', hold_ms + (now - rec.at - hold_ms) * (holds > 0 and HOLD_SMOOTHING or 1))
    put('n', 'holds', holds + 1)
    work('done_work', rec, 1)
  end
  forget(rec)
end

local function book(rec, written, read)
  if rec.unread > 0 then
    add('flight', rec.replica, 0 - rec.unread)
    put('t:' .. rec.id, 'unread', 0)
    rec.unread = 0
  end
  if written ~= 0 or read ~= 0 then
    charge(rec.rank, rec.tenant, rec.user, cost(read, written, rec.weight))
  end
end

local function choose(ranks, overdue)
  local names, earned = {}, {}
  for i = 0, BANDS do names[i + 1] = 'credit' .. i end
  local found = call('HMGET', P .. 'n', unpack(names))
  for i = 0, BANDS do earned[i] = tonumber(found[i + 1] or 0) end
  local chosen, most = ranks[1], WHOLE - 1
  local lines = {unpack(ranks)}
  if overdue then lines[#lines + 1] = BANDS end
  for _, line in ipairs(lines) do
    earned[line] = earned[line] + SHARES[line + 1]
    if earned[line] > most then chosen, most = line, earned[line] end
  end
  earned[chosen] = max(0, earned[chosen] - WHOLE)
  local values = {}
  for i = 0, BANDS do values[#values + 1] = 'credit' .. i; values[#values + 1] = earned[i] end
  call('HSET', P .. 'n', unpack(values))
  return chosen
end

-- Who goes next in a class of a lane, after what order; of the tenants that are not among the `count` kept `back`.
local function first(lane, b, back, count)
  local line = lane .. ':' .. b
  local found = call('ZRANGE', P .. 'lt:' .. line, 0, count, 'WITHSCORES')
  local at = 1
  while found[at] and back[found[at]] do at = at + 2 end
  if not found[at] then return nil end
  local tenant = {found[at], found[at + 1]}
  local user = call('ZRANGE', key_of('lu:', line, tenant[1]), 0, 0, 'WITHSCORES')
  local ticket = call('ZRANGE', key_of('lf:', line, tenant[1], user[1]), 0, 0, 'WITHSCORES')
  return {tonumber(tenant[2]), tenant[1], tonumber(user[2]), user[1], tonumber(ticket[2])}, ticket[1]
end

local function before(one, other)
  for i = 1, #one do
    if one[i] ~= other[i] then return one[i] < other[i] end
  end
  return false
end

local function next_of()
  local bests, ids, overdue, oldest = {}, {}, nil, nil
  for lane, replicas in pairs(all_lanes()) do
    local open, wide = opened(replicas)
    for b = 0, open[1] and BANDS - 1 or -1 do
      local back, count, order, ticket = {}, 0, nil, nil
      if not wide and call('EXISTS', P .. 'lt:' .. lane .. ':' .. b) == 1 then back, count = kept_back(b, open) end
      if back then order, ticket = first(lane, b, back, count) end
      if order then
        if not bests[b] or before(order, bests[b]) then bests[b], ids[b] = order, ticket end
        local head = call('ZRANGE', P .. 'a:' .. lane .. ':' .. b, 0, 0, 'WITHSCORES')
        local known = call('HMGET', P .. 't:' .. head[1], 'at', 'raw')
        if now - tonumber(known[1]) >= OVERDUE_MS[b + 1] and (not oldest or tonumber(head[2]) < oldest)
          and (count == 0 or not back[cjson.decode(known[2]).tenant]) then
          overdue, oldest = head[1], tonumber(head[2])
        end
      end
    end
  end
  local ranks = {}
  for b = 0, BANDS - 1 do
    if bests[b] then ranks[#ranks + 1] = b end
  end
  if not ranks[1] then return nil end
  local line = choose(ranks, overdue)
  if line == BANDS then return overdue end
  return ids[line]
end

local granted = {}
local function grant()
  while get('n', 'waiting') > 0 do
    local id = next_of()
    if not id then return end
    local rec = load(id)
    local b = rec.rank
    local replica = cheapest(rec.replicas, get('n', 'turn'), b, rec.tenant)
    local interval, mean, grants = now - get('n', 'began' .. b), get('n', 'interval' .. b), get('n', 'grants' .. b)
    put('n', 'began' .. b, now)
    if grants > 0 then put('n', 'interval' .. b, mean + (interval - mean) * (grants > 1 and SMOOTHING or 1)) end
    put('n', 'grants' .. b, grants + 1)
    hold(rec, replica)
    remove(rec)
    granted[#granted + 1] = rec.id
    granted[#granted + 1] = replica[1]
    granted[#granted + 1] = exact(now - rec.at)
    call('PUBLISH', 'atrium:sched:grants:' .. rec.owner, 'held ' .. rec.id .. ' ' .. replica[1])
  end
end

local function above(b)
  local sum = 0
  for higher = 0, b - 1 do sum = sum + get('n', 'wait' .. higher) end
  return sum
end

local function position(b, tenant, weight, ordinal)
  local own
  if ordinal then own = max(1, ordinal - get('bl' .. b, tenant))
  else own = get('bw' .. b, tenant) + 1 end
  local total = get('n', 'weight' .. b) + weight - get('bg' .. b, tenant)
  return math.ceil(own * total / weight)
end

local function expected(b, slots, place)
  if slots == 0 then return nil end
  if get('n', 'wait' .. b) > 0 and get('n', 'grants' .. b) >= ENOUGH then
    local since, interval = now - get('n', 'began' .. b), get('n', 'interval' .. b)
    if get('n', 'holds') > 0 and since > max(STALLED * interval, get('n', 'hold_ms')) then return place * since end
    return place * interval
  end
  if get('n', 'holds') >= 2 * ENOUGH then return (above(b) + place) * get('n', 'hold_ms') / slots end
  return nil
end

local function retry(b, slots)
  local whole = expected(b, slots, get('n', 'wait' .. b))
  if not whole then return USUAL_RETRY end
  return min(LONGEST_RETRY, max(LEAST_RETRY, whole * DRAINED))
end

local function place_of(rec)
  local b = rec.rank
  local place = min(position(b, rec.tenant, rec.weight, rec.ordinal), get('n', 'wait' .. b))
  return above(b) + place, expected(b, slots_of(rec.replicas), place)
end

local function drop_dead()
  local dead = call('ZRANGEBYSCORE', P .. 'alive', '-inf', now, 'LIMIT', 0, 10)
  for _, name in ipairs(dead) do
    for _, id in ipairs(call('SMEMBERS', P .. 'own:' .. name)) do
      local rec = load(id)
      if rec and rec.st == 'h' then release(rec, true) elseif rec then cancel(rec) end
    end
    call('DEL', P .. 'own:' .. name)
    call('ZREM', P .. 'alive', name)
  end
  if dead[1] then grant() end
end

local function keep_alive() call('ZADD', P .. 'alive', now + lease_ms, owner) end
drop_dead()
"""
)
