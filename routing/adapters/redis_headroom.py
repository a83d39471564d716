"""Lua of what is kept free on a replica: `routing/headroom.py` once more, over the keys of one pool.

Functions have the same names. What a script has read of the calls on a replica and of who waits is kept while it runs,
until a call or a ticket comes or goes: `changed` must be told.
"""

from routing import headroom

# Needs what `redis_queue.SHARED` begins with. Replicas are {id, max, prefill_tps, uncached, extra_s, budget}.
HEADROOM = (
    f"local KEPT, BACKLOG = {headroom.KEPT}, {headroom.BACKLOG}\n"
    + """
local function is_wide(each, running, flight)
  return running < each[2] - floor(each[2] / KEPT) and (flight == 0 or each[6] == 0)
end

-- `b:replica` → what is known of its calls; b → tenant → how many of its tickets wait.
local holders, waiters = {}, {}
local function changed() holders, waiters = {}, {} end

local function numbers(key)
  local found, values = call('HGETALL', P .. key), {}
  for i = 1, #found, 2 do values[found[i]] = tonumber(found[i + 1]) end
  return values
end

local function waiting_of(b)
  if not waiters[b] then waiters[b] = numbers('bw' .. b) end
  return waiters[b]
end

-- Tenant → its calls, all of them, and how many of the tenants do not wait.
local function holders_of(b, id)
  local key = b .. ':' .. id
  local found = holders[key]
  if not found then
    found = {calls = numbers('h' .. key), total = 0, patient = 0}
    local waiting = waiting_of(b)
    for name, calls in pairs(found.calls) do
      found.total = found.total + calls
      if not waiting[name] then found.patient = found.patient + 1 end
    end
    holders[key] = found
  end
  return found
end

local function class_has_enough(b, each)
  for higher = 0, b - 1 do
    if call('EXISTS', P .. 'h' .. higher .. ':' .. each[1]) == 1 then
      return holders_of(b, each[1]).total * WHOLE >= each[2] * SHARES[b + 1]
    end
  end
  return false
end

-- Of a tenant that has calls there: whether it has its part of the slots, or a backlog.
local function has_part(b, tenant, each, there)
  if (waiting_of(b)[tenant] or 0) >= BACKLOG then return true end
  if not there.weights then
    there.weights, there.weight = numbers('g' .. b .. ':' .. each[1]), 0
    for _, weight in pairs(there.weights) do there.weight = there.weight + weight end
  end
  return there.calls[tenant] * there.weight >= (there.weights[tenant] or 0) * each[2]
end

local function has_enough(b, tenant, each)
  if class_has_enough(b, each) then return true end
  -- Most that come have no call there, which one number says.
  if get('h' .. b .. ':' .. each[1], tenant) == 0 then return false end
  local there = holders_of(b, each[1])
  local others = there.patient - (waiting_of(b)[tenant] and 0 or 1)
  return others > 0 and has_part(b, tenant, each, there)
end

-- Those who wait and have had enough of each of some open replicas, and how many; nil when the class has of each.
local function kept_back(b, replicas)
  local back, count = nil, 0
  for _, each in ipairs(replicas) do
    if not class_has_enough(b, each) then
      local there, waiting = holders_of(b, each[1]), waiting_of(b)
      local before = back
      back, count = {}, 0
      for name in pairs(there.patient > 0 and there.calls or back) do
        if waiting[name] and (not before or before[name]) and has_part(b, name, each, there) then
          back[name], count = true, count + 1
        end
      end
      if count == 0 then break end
    end
  end
  return back, count
end
"""
)
