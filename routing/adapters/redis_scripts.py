"""Lua of the scheduler over Redis. One pool is one hash tag, so each script touches one slot of a cluster.

Keys of a pool `{p}`: `slots:<replica>` (sorted set: lease → expiry), `queue` (sorted set: ticket → place), `tickets`
(hash: ticket → its replicas), `beats` (sorted set: ticket → expiry of its heartbeat), `places` (counter), `replicas`
(set of replica ids seen), `service` (hash: tenant → tokens). Times are milliseconds of the server's clock.
"""

# What every script begins with: the clock, and the ways to choose and to give out.
_SHARED = """
local prefix = KEYS[1]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function slots(replica) return prefix .. 'slots:' .. replica end

-- The least loaded of {id, max, id, max, ...} with a free slot: the smallest share of its slots in use.
local function choose(replicas, turn)
  local best, lowest, count = false, 2, 0
  for i = 1, #replicas, 2 do
    local max = tonumber(replicas[i + 1])
    redis.call('ZREMRANGEBYSCORE', slots(replicas[i]), '-inf', now)
    local share = redis.call('ZCARD', slots(replicas[i])) / max
    if share < 1 then
      if share < lowest then best, lowest, count = {replicas[i]}, share, 1
      elseif share == lowest then count = count + 1; best[count] = replicas[i] end
    end
  end
  if not best then return false end
  return best[turn % count + 1]
end

local function hold(ticket, replica, lease_ms)
  redis.call('ZADD', slots(replica), now + lease_ms, ticket)
  redis.call('PEXPIRE', slots(replica), lease_ms * 2)
  redis.call('SADD', prefix .. 'replicas', replica)
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
      local wanted = table.concat(known.replicas, ' ')
      -- Whoever wants the same replicas as one who got nothing gets nothing either.
      if not tried[wanted] then
        local replica = choose(known.replicas, place)
        if replica then
          hold(ticket, replica, lease_ms)
          forget(ticket)
          redis.call('PUBLISH', known.channel, ticket .. ' ' .. replica)
        else
          tried[wanted] = true
        end
      end
    end
  end
end
"""

# ARGV: ticket, channel, lease_ms, beat_ms, queue_limit, replica, max, replica, max, …
# Returns the replica; 'wait' when the ticket waits; 'full' when the queue is full.
ACQUIRE = (
    _SHARED
    + """
local ticket, channel, lease_ms, beat_ms, limit = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local replicas = {}
for i = 6, #ARGV do replicas[#replicas + 1] = ARGV[i] end
local waiting = redis.call('ZCARD', prefix .. 'queue')
if waiting > 0 then give_out(lease_ms) end
local place = redis.call('INCR', prefix .. 'places')
local replica = choose(replicas, place)
if replica then hold(ticket, replica, lease_ms) return replica end
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
for i = 3, #ARGV do redis.call('ZREM', slots(ARGV[i]), ARGV[1]) end
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

# ARGV: tenant, tokens. The account is forgotten an hour after the last charge.
CHARGE = (
    _SHARED
    + """
redis.call('HINCRBY', prefix .. 'service', ARGV[1], ARGV[2])
redis.call('EXPIRE', prefix .. 'service', 3600)
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
