-- The start of create.lua, replace.lua and touch.lua. Sets `entry` to the value of KEYS[1], or to false if the value is
-- absent or has expired at the time ARGV[1]. Byte 1 of a value is the kind, bytes 2 to 9 are the expiry, and bytes 10 to
-- 17 are the version. From byte 34 on: the length of the scope, the scope, the length of the identity, the identity.
-- After a success, a script replies `owner()` or false. Otherwise, it replies `entry`, or '' if `entry` is false.

-- Whether the time `one` is later than `other`. Compares halves, because a Lua number cannot hold every 64-bit time.
local function is_after(one, other)
  local high, low = struct.unpack('>i4I4', one)
  local than_high, than_low = struct.unpack('>i4I4', other)
  return high > than_high or high == than_high and low > than_low
end

local entry = redis.call('GET', KEYS[1])
if entry and not is_after(entry:sub(2, 9), ARGV[1]) then
  entry = false
end

-- Returns {scope, identity} of the record in `entry`, or false if the record has no identity.
local function owner()
  local scope = struct.unpack('>I2', entry, 34)
  local identity = struct.unpack('>I2', entry, 36 + scope)
  if identity == 65535 then
    return false
  end
  return {entry:sub(36, 35 + scope), entry:sub(38 + scope, 37 + scope + identity)}
end
