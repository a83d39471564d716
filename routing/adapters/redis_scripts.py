"""Lua of the scheduler over Redis. One pool is one hash tag, so each script touches one slot of a cluster.

Keys of a pool `{p}`: `slots:<replica>` (sorted set: lease → expiry), `queue` (sorted set: ticket → place), `tickets`
(hash: ticket → its replicas), `beats` (sorted set: ticket → expiry of its heartbeat), `places` (counter), `replicas`
(set of replica ids seen), `unread:<replica>` (hash: lease →
uncached tokens of a prompt in flight), `flight` (hash: replica → their sum), `service` (hash: tenant → tokens). Times are milliseconds of the server's clock.
"""

# What every script begins with: the clock, and the ways to choose and to give out.
_SHARED = """
local prefix = KEYS[1]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function slots(replica) return prefix .. 'slots:' .. replica end

local function unread(replica) return prefix .. 'unread:' .. replica end

-- The prompt of a call has been read, or the call has ended.
local function read(ticket, replica)
  local tokens = redis.call('HGET', unread(replica), ticket)
  if tokens then
    redis.call('HDEL', unread(replica), ticket)
    redis.call('HINCRBY', prefix .. 'flight', replica, -tokens)
  end
end

-- `cheapest` of routing/balancing.py. `replicas` is a list of {id, max, prefill_tps, uncached, extra_s, budget}.
local function choose(replicas, turn)
  local open, lowest = {}, false
  for _, each in ipairs(replicas) do
    local id, max, budget = each[1], tonumber(each[2]), tonumber(each[6])
    for _, dead in ipairs(redis.call('ZRANGEBYSCORE', slots(id), '-inf', now)) do
      redis.call('ZREM', slots(id), dead)
      read(dead, id)
    end
    local running = redis.call('ZCARD', slots(id))
    local flight = tonumber(redis.call('HGET', prefix .. 'flight', id) or 0)
    if running < max and (budget == 0 or flight < budget) then
      local cost = (flight + tonumber(each[4])) / tonumber(each[3]) + tonumber(each[5])
      if not lowest or cost < lowest then lowest = cost end
      open[#open + 1] = {cost, running / max, each}
    end
  end
  if not lowest then return false end
  local alike, share = {}, false
  for _, found in ipairs(open) do
    if found[1] <= lowest * 1.01 then
      alike[#alike + 1] = found
      if not share or found[2] < share then share = found[2] end
    end
  end
  local equals = {}
  for _, found in ipairs(alike) do
    if found[2] == share then equals[#equals + 1] = found[3] end
  end
  return equals[turn % #equals + 1]
end

local function hold(ticket, replica, lease_ms)
  redis.call('ZADD', slots(replica), now + lease_ms, ticket)
  redis.call('PEXPIRE', slots(replica), lease_ms * 2)
  redis.call('SADD', prefix .. 'replicas', replica)
end

local function take(ticket, replica, lease_ms)
  local id, tokens = replica[1], tonumber(replica[4])
  hold(ticket, id, lease_ms)
  if tokens > 0 then
    redis.call('HSET', unread(id), ticket, tokens)
    redis.call('HINCRBY', prefix .. 'flight', id, tokens)
  end
  return id
end

local function forget(ticket)
  redis.call('ZREM', prefix .. 'queue', ticket)
  redis.call('ZREM', prefix .. 'beats', ticket)
  redis.call('HDEL', prefix .. 'tickets', ticket)
end

-- Give free slots to those who wait, in order of arrival. A ticket whose process has died is passed over.
local function give_out(lease_ms)
  for _, dead in ipairs(redis.call('ZRANGEBYSCORE', prefix .. 'beats', '-inf', now, 'LIMIT', 0, 100)) do
    forget(dead)
  end
  local tried = {}
  for place, ticket in ipairs(redis.call('ZRANGE', prefix .. 'queue', 0, 199)) do
    local raw = redis.call('HGET', prefix .. 'tickets', ticket)
    if not raw then
      redis.call('ZREM', prefix .. 'queue', ticket)
    else
      local known = cjson.decode(raw)
      local names = {}
      for i, each in ipairs(known.replicas) do names[i] = each[1] end
      local wanted = table.concat(names, ' ')
      -- Whoever wants the same replicas as one who got nothing gets nothing either.
      if not tried[wanted] then
        local replica = choose(known.replicas, place)
        if replica then
          forget(ticket)
          redis.call('PUBLISH', known.channel, ticket .. ' ' .. take(ticket, replica, lease_ms))
        else
          tried[wanted] = true
        end
      end
    end
  end
end
"""

# ARGV: ticket, channel, lease_ms, beat_ms, queue_limit, replicas: [[id, max, prefill_tps, uncached, extra_s, budget], …]
# as JSON.
# Returns the replica; 'wait' when the ticket waits; 'full' when the queue is full.
ACQUIRE = (
    _SHARED
    + """
local ticket, channel, lease_ms, beat_ms, limit = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local replicas = cjson.decode(ARGV[6])
local waiting = redis.call('ZCARD', prefix .. 'queue')
if waiting > 0 then give_out(lease_ms) end
local place = redis.call('INCR', prefix .. 'places')
local replica = choose(replicas, place)
if replica then return take(ticket, replica, lease_ms) end
if redis.call('ZCARD', prefix .. 'queue') >= limit then return 'full' end
redis.call('ZADD', prefix .. 'queue', place, ticket)
redis.call('ZADD', prefix .. 'beats', now + beat_ms, ticket)
redis.call('HSET', prefix .. 'tickets', ticket, cjson.encode({replicas = replicas, channel = channel}))
return 'wait'
"""
)

# A waiting ticket is alive. ARGV: ticket, lease_ms, beat_ms, replica, replica, …
# Returns 'wait', the replica it was given meanwhile, or 'gone'.
BEAT = (
    _SHARED
    + """
local ticket, lease_ms, beat_ms = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
if redis.call('ZSCORE', prefix .. 'queue', ticket) then
  redis.call('ZADD', prefix .. 'beats', now + beat_ms, ticket)
  give_out(lease_ms)
end
for i = 4, #ARGV do
  if redis.call('ZSCORE', slots(ARGV[i]), ticket) then return ARGV[i] end
end
if redis.call('ZSCORE', prefix .. 'queue', ticket) then return 'wait' end
return 'gone'
"""
)

# Give back a slot, or a place in the queue. ARGV: ticket, lease_ms, replica, replica, …
RELEASE = (
    _SHARED
    + """
forget(ARGV[1])
for i = 3, #ARGV do
  redis.call('ZREM', slots(ARGV[i]), ARGV[1])
  read(ARGV[1], ARGV[i])
end
if redis.call('ZCARD', prefix .. 'queue') > 0 then give_out(tonumber(ARGV[2])) end
return 1
"""
)

# Hold a slot longer. ARGV: ticket, lease_ms, replica. Returns 1, or 0 when the slot was lost.
RENEW = (
    _SHARED
    + """
if not redis.call('ZSCORE', slots(ARGV[3]), ARGV[1]) then return 0 end
hold(ARGV[1], ARGV[3], tonumber(ARGV[2]))
return 1
"""
)

# ARGV: lease_ms, tenant, tokens, lease, replica, lease, replica, …: the leases whose first byte has come. The account is
# forgotten an hour after the last charge.
CHARGE = (
    _SHARED
    + """
for i = 4, #ARGV, 2 do read(ARGV[i], ARGV[i + 1]) end
if tonumber(ARGV[3]) > 0 then
  redis.call('HINCRBY', prefix .. 'service', ARGV[2], ARGV[3])
  redis.call('EXPIRE', prefix .. 'service', 3600)
end
if redis.call('ZCARD', prefix .. 'queue') > 0 then give_out(tonumber(ARGV[1])) end
return 1
"""
)

# Returns {waiting, replica, running, replica, running, …}.
SNAPSHOT = (
    _SHARED
    + """
local found = {redis.call('ZCARD', prefix .. 'queue')}
for _, replica in ipairs(redis.call('SMEMBERS', prefix .. 'replicas')) do
  local running = redis.call('ZCOUNT', slots(replica), now, '+inf')
  if running > 0 then
    found[#found + 1] = replica
    found[#found + 1] = running
  else
    redis.call('SREM', prefix .. 'replicas', replica)
  end
end
return found
"""
)
