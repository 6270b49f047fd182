-- Sets `entry` to the value of KEYS[1] at the moment ARGV[1], or to false if the key is absent or expired. Byte 1 of a
-- value is its kind, bytes 2 to 9 are its expiry, bytes 10 to 17 its version. From byte 34 on follow scope and identity,
-- each after its length.
-- A script that did its work replies nothing, or the owner of the record. Otherwise it replies `entry`, or '' if `entry`
-- is false.

-- Lua's numbers are doubles, which do not hold every moment. They do hold each half of a moment.
local function is_after(one, other)
  local high, low = struct.unpack('>i4I4', one)
  local than_high, than_low = struct.unpack('>i4I4', other)
  return high > than_high or high == than_high and low > than_low
end

local entry = redis.call('GET', KEYS[1])
if entry and not is_after(entry:sub(2, 9), ARGV[1]) then
  entry = false
end

-- The scope and identity of the record; false if it has no identity.
local function owner()
  local scope = struct.unpack('>I2', entry, 34)
  local identity = struct.unpack('>I2', entry, 36 + scope)
  if identity == 65535 then
    return false
  end
  return {entry:sub(36, 35 + scope), entry:sub(38 + scope, 37 + scope + identity)}
end
