"""The scripts of the scheduler over Redis: each is what all share (`redis_queue.py`), and what it does itself."""

from routing.adapters.redis_queue import SHARED

# ARGV 4…: the ticket as JSON, then how many may wait: in all, of a tenant, of each class.
# Returns {'held', replica}, {'wait', position, expected_ms or ''}, {'no', why, retry_ms}, or, where another had to go,
# {'shed', its id, retry_ms, position, expected_ms or ''}. A ticket that is there already is told how it stands.
ACQUIRE = (
    SHARED
    + """
local rec = cjson.decode(ARGV[4])
rec.raw, rec.owner = ARGV[4], owner
local total, of_tenant = tonumber(ARGV[5]), tonumber(ARGV[6])
local b, tenant = rec.rank, rec.tenant
local known = load(rec.id)
if known and known.st == 'h' then return {'held', known.replica} elseif known then return {'wait', '1', ''} end
local replica = cheapest(rec.replicas, get('n', 'turn'), b, tenant)
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
changed()
rec.seq, rec.at = add('n', 'seq', 1), now
local users = 'u' .. b .. ':' .. tenant
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
join_lane(rec)
call('HSET', P .. 't:' .. rec.id, 'st', 'w', 'owner', owner, 'seq', rec.seq, 'at', now, 'ordinal', rec.ordinal)
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
    SHARED
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

# Tickets that wait may go elsewhere, at the places they have. ARGV 4…: tickets as JSON. Returns what was granted.
MOVE = (
    SHARED
    + """
keep_alive()
for i = 4, #ARGV do
  local to = cjson.decode(ARGV[i])
  local rec = load(to.id)
  if rec and rec.st == 'w' then move(rec, to, ARGV[i]) end
end
grant()
return granted
"""
)

# Give back a slot, or a place in the queue. ARGV 4…: ticket, '1' when nothing was done for it, what was written and read
# since the last charge. Returns what was granted: ticket, replica, waited_ms, ….
RELEASE = (
    SHARED
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
    SHARED
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
    SHARED
    + """
local waiting = {}
for b = 0, BANDS - 1 do waiting[b + 1] = get('n', 'wait' .. b) end
local hold = get('n', 'holds') > 0 and exact(get('n', 'hold_ms')) or ''
local tokens = {}
for i, name in ipairs({'running', 'waiting', 'done', 'refused'}) do tokens[i] = get('n', name .. '_work') end
return {call('HGETALL', P .. 'run'), call('HGETALL', P .. 'flight'), waiting, hold, tokens}
"""
)
