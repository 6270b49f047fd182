-- Sets `entry` to the value of KEYS[1] at the time ARGV[1], or to false if the key is absent or expired. Byte 1 of a
-- value is its kind, bytes 2 to 9 are its expiry, bytes 10 to 17 its version. The scope and the identity start at byte
-- 34, each after its length.
-- A script that succeeds replies nothing, or the owner of the record. Otherwise it replies `entry`, or '' if `entry` is
-- false.

-- A Lua number is a double, which cannot hold every 64-bit time. It can hold each half of a time.
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
