"""Lua of the scheduler over Redis: `routing/queueing.py` once more, over the keys of one pool.

What is said there of bands, fairness, bounds and lanes is not said again here; functions have the same names, and a
differential test (`tests/routing/test_redis_queue.py`) holds both to the same grants, counters and answers. One pool is
one hash tag, so each script touches one slot of a cluster.

Keys of a pool, behind its prefix; `b` is a band by rank, `l` a lane (a digest of its replicas):
`n` numbers of the pool · `alive` owner → expiry · `own:<owner>` its tickets and leases · `t:<ticket>` one ticket or lease
· `run`, `flight` replica → calls, uncached tokens · `tw` tenant → tickets that wait · `lanes` l → its replicas · `lw` l →
how many wait · `c<b>` tenant → used · `bw<b>`, `bg<b>`, `bj<b>`, `bl<b>` tenant → waiting, weight, joined, left ·
`bt<b>:<tenant>` its tickets as they came · `u<b>:<tenant>`, `uw<b>:<tenant>` user → used, waiting · `ul<b>` tenant → last
user · `a:<l>:<b>` arrivals · `lt:<l>:<b>` tenants by used · `lu:<l>:<b>:<tenant>` users by used ·
`lf:<l>:<b>:<tenant>:<user>` tickets as they came.

An owner is a process. Its tickets and leases live while it says so; those of one that died go with it.
"""

from routing import lanes, queueing, reckoning
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
_SHARED = (
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

local function loads(replicas)
  local ids = {}
  for i, each in ipairs(replicas) do ids[i] = each[1] end
  return call('HMGET', P .. 'run', unpack(ids)), call('HMGET', P .. 'flight', unpack(ids))
end

local function cheapest(replicas, turn)
  local running, flight = loads(replicas)
  local open, lowest = {}, nil
  for i, each in ipairs(replicas) do
    local calls, tokens = tonumber(running[i] or 0), tonumber(flight[i] or 0)
    if is_open(each, calls, tokens) then
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

local function lane_is_open(replicas)
  local running, flight = loads(replicas)
  for i, each in ipairs(replicas) do
    if is_open(each, tonumber(running[i] or 0), tonumber(flight[i] or 0)) then return true end
  end
  return false
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
  add('n', 'turn', 1)
  work('running_work', rec, 1)
  add('run', replica[1], 1)
  add('flight', replica[1], replica[4])
  call('HSET', P .. 't:' .. rec.id, 'raw', rec.raw, 'st', 'h', 'owner', rec.owner, 'replica', replica[1],
    'unread', replica[4], 'reckoned', replica[4], 'at', now)
  call('SADD', P .. 'own:' .. rec.owner, rec.id)
  charge(rec.rank, rec.tenant, rec.user, cost(replica[4], 0, rec.weight))
end

local function remove(rec)
  local b, tenant, user, lane = rec.rank, rec.tenant, rec.user, rec.lane
  local line = lane .. ':' .. b
  add('n', 'waiting', -1)
  work('waiting_work', rec, -1)
  less('tw', tenant)
  call('ZREM', P .. 'a:' .. line, rec.id)
  local fifo = key_of('lf:', line, tenant, user)
  call('ZREM', fifo, rec.id)
  if call('EXISTS', fifo) == 0 then
    call('ZREM', key_of('lu:', line, tenant), user)
    if call('EXISTS', key_of('lu:', line, tenant)) == 0 then call('ZREM', P .. 'lt:' .. line, tenant) end
  end
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
  if less('lw', lane) <= 0 then
    call('HDEL', P .. 'lanes', lane)
    lane_replicas = nil
  end
  if gone then prune(b) end
end

local function cancel(rec)
  remove(rec)
  forget(rec)
end

local function release(rec, unused)
  add('flight', rec.replica, 0 - rec.unread)
  if less('run', rec.replica) <= 0 then call('HDEL', P .. 'flight', rec.replica) end
  work('running_work', rec, -1)
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

-- Who goes next in a class of a lane, after what order.
local function first(lane, b)
  local line = lane .. ':' .. b
  local tenant = call('ZRANGE', P .. 'lt:' .. line, 0, 0, 'WITHSCORES')
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

local function next_of(open)
  local ranks, overdue, oldest = {}, nil, nil
  for b = 0, BANDS - 1 do
    local waits = false
    for _, lane in ipairs(open) do
      local head = call('ZRANGE', P .. 'a:' .. lane .. ':' .. b, 0, 0, 'WITHSCORES')
      if head[1] then
        waits = true
        local at = tonumber(call('HGET', P .. 't:' .. head[1], 'at'))
        if now - at >= OVERDUE_MS[b + 1] and (not oldest or tonumber(head[2]) < oldest) then
          overdue, oldest = head[1], tonumber(head[2])
        end
      end
    end
    if waits then ranks[#ranks + 1] = b end
  end
  local line = choose(ranks, overdue)
  if line == BANDS then return overdue end
  local best, id
  for _, lane in ipairs(open) do
    if call('EXISTS', P .. 'a:' .. lane .. ':' .. line) == 1 then
      local order, ticket = first(lane, line)
      if not best or before(order, best) then best, id = order, ticket end
    end
  end
  return id
end

local granted = {}
local function grant()
  while get('n', 'waiting') > 0 do
    local open = {}
    for lane, replicas in pairs(all_lanes()) do
      if lane_is_open(replicas) then open[#open + 1] = lane end
    end
    if not open[1] then return end
    local rec = load(next_of(open))
    local b = rec.rank
    local replica = cheapest(rec.replicas, get('n', 'turn'))
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

# ARGV 4…: the ticket as JSON, then how many may wait: in all, of a tenant, of each class.
# Returns {'held', replica}, {'wait', position, expected_ms or ''}, {'no', why, retry_ms}, or, where another had to go,
# {'shed', its id, retry_ms, position, expected_ms or ''}. A ticket that is there already is told how it stands.
ACQUIRE = (
    _SHARED
    + """
local rec = cjson.decode(ARGV[4])
rec.raw, rec.owner = ARGV[4], owner
local total, of_tenant = tonumber(ARGV[5]), tonumber(ARGV[6])
local b, tenant = rec.rank, rec.tenant
local known = load(rec.id)
if known and known.st == 'h' then return {'held', known.replica} elseif known then return {'wait', '1', ''} end
local replica = cheapest(rec.replicas, get('n', 'turn'))
if replica then
  keep_alive()
  if call('HEXISTS', P .. 'bw' .. b, tenant) == 0 then
    lift('c' .. b, tenant, last(b), least(b))
    put('n', 'last' .. b, tenant)
    prune(b)
  end
  hold(rec, replica)
  return {'held', replica[1]}
end

local slots, why, victim = slots_of(rec.replicas), nil, nil
if of_tenant < total and get('tw', tenant) >= of_tenant then
  for lower = BANDS - 1, b + 1, -1 do
    victim = call('ZREVRANGE', P .. 'bt' .. lower .. ':' .. tenant, 0, 0)[1]
    if victim then break end
  end
  if not victim then why = 'share' end
end
local waiting = get('n', 'wait' .. b)
if not why and waiting >= tonumber(ARGV[7 + b]) then why = 'full' end
local late
if not why then
  local wait_ms = expected(b, slots, min(position(b, tenant, rec.weight, nil), waiting + 1))
  if wait_ms and wait_ms > rec.wait_s * 1000 then why, late = 'late', max(LEAST_RETRY, wait_ms - rec.wait_s * 1000) end
end
if not why and not victim and get('n', 'waiting') >= total then
  local newest
  for lower = BANDS - 1, b + 1, -1 do
    for lane in pairs(all_lanes()) do
      local found = call('ZREVRANGE', P .. 'a:' .. lane .. ':' .. lower, 0, 0, 'WITHSCORES')
      if found[1] and (not newest or tonumber(found[2]) > newest) then victim, newest = found[1], tonumber(found[2]) end
    end
    if victim then break end
  end
  if not victim then why = 'full' end
end
if why then
  work('refused_work', rec, 1)
  return {'no', why, exact(late or retry(b, slots))}
end

local shed_ms
if victim then
  local gone = load(victim)
  cancel(gone)
  shed_ms = exact(retry(gone.rank, slots_of(gone.replicas)))
  call('PUBLISH', 'atrium:sched:grants:' .. gone.owner, 'shed ' .. victim .. ' ' .. shed_ms)
end

keep_alive()
if get('n', 'wait' .. b) == 0 then
  put('n', 'began' .. b, now)
  put('n', 'interval' .. b, 0)
  put('n', 'grants' .. b, 0)
end
rec.seq, rec.at, rec.lane = add('n', 'seq', 1), now, lane_of(rec.replicas)
local line, users = rec.lane .. ':' .. b, 'u' .. b .. ':' .. tenant
-- The band.
local least_used, least_user = least(b), least_of_users(b, tenant)
add('n', 'waiting', 1)
work('waiting_work', rec, 1)
add('tw', tenant, 1)
add('n', 'wait' .. b, 1)
if call('HEXISTS', P .. 'bw' .. b, tenant) == 0 then lift('c' .. b, tenant, last(b), least_used) end
add('bw' .. b, tenant, 1)
add('n', 'weight' .. b, rec.weight - get('bg' .. b, tenant))
put('bg' .. b, tenant, rec.weight)
rec.ordinal = add('bj' .. b, tenant, 1)
call('ZADD', P .. 'bt' .. b .. ':' .. tenant, rec.seq, rec.id)
if call('HEXISTS', P .. 'uw' .. b .. ':' .. tenant, rec.user) == 0 then
  lift(users, rec.user, call('HGET', P .. 'ul' .. b, tenant) or '', least_user)
end
add('uw' .. b .. ':' .. tenant, rec.user, 1)
-- The lane.
if call('HSETNX', P .. 'lanes', rec.lane, cjson.encode(rec.replicas)) == 1 then lane_replicas = nil end
add('lw', rec.lane, 1)
call('ZADD', P .. 'a:' .. line, rec.seq, rec.id)
call('ZADD', P .. 'lt:' .. line, get('c' .. b, tenant), tenant)
call('ZADD', key_of('lu:', line, tenant), get(users, rec.user), rec.user)
call('ZADD', key_of('lf:', line, tenant, rec.user), rec.seq, rec.id)
call('HSET', P .. 't:' .. rec.id, 'raw', rec.raw, 'st', 'w', 'owner', owner, 'lane', rec.lane, 'seq', rec.seq,
  'at', now, 'ordinal', rec.ordinal)
call('SADD', P .. 'own:' .. owner, rec.id)
local place, wait_ms = place_of(rec)
if victim then return {'shed', victim, shed_ms, tostring(place), exact(wait_ms)} end
return {'wait', tostring(place), exact(wait_ms)}
"""
)

# The owner lives. ARGV 4…: tickets of it that wait, and leases.
# Returns {granted, answer…}: of each ticket {'wait', position, expected_ms or ''}, {'held', replica}, or {'gone'} when its
# owner was taken for dead or Redis was emptied.
BEAT = (
    _SHARED
    + """
keep_alive()
grant()
local answers = {granted}
for i = 4, #ARGV do
  local rec = load(ARGV[i])
  if not rec then
    answers[#answers + 1] = {'gone'}
  elseif rec.st == 'h' then
    answers[#answers + 1] = {'held', rec.replica}
  else
    local place, wait_ms = place_of(rec)
    answers[#answers + 1] = {'wait', tostring(place), exact(wait_ms)}
  end
end
return answers
"""
)

# Give back a slot, or a place in the queue. ARGV 4…: ticket, '1' when nothing was done for it, what was written and read
# since the last charge. Returns what was granted: ticket, replica, waited_ms, ….
RELEASE = (
    _SHARED
    + """
local rec = load(ARGV[4])
if rec and rec.st == 'h' then
  book(rec, tonumber(ARGV[6]), tonumber(ARGV[7]))
  release(rec, ARGV[5] == '1')
elseif rec then
  cancel(rec)
end
grant()
return granted
"""
)

# ARGV 4…: lease, written, read, lease, written, read, …. Returns what was granted.
CHARGE = (
    _SHARED
    + """
for i = 4, #ARGV, 3 do
  local rec = load(ARGV[i])
  if rec and rec.st == 'h' then book(rec, tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])) end
end
grant()
return granted
"""
)

# Returns {running, in flight, waiting by class, hold_ms or '', work that runs, waits, was done, was refused}; the first two
# are replica, number, ….
SNAPSHOT = (
    _SHARED
    + """
local waiting = {}
for b = 0, BANDS - 1 do waiting[b + 1] = get('n', 'wait' .. b) end
local hold = get('n', 'holds') > 0 and exact(get('n', 'hold_ms')) or ''
local tokens = {}
for i, name in ipairs({'running', 'waiting', 'done', 'refused'}) do tokens[i] = get('n', name .. '_work') end
return {call('HGETALL', P .. 'run'), call('HGETALL', P .. 'flight'), waiting, hold, tokens}
"""
)
