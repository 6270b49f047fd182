-- What lives at KEYS[1] at the moment ARGV[1], as `held`; false where nothing does. It is bytes: 1 says what it is,
-- 2 to 9 are when it expires, 10 to 17 its version, and from 34 on come scope and identity, each after its length.
-- A script answers nothing when it did what it was asked to, or whose record it did it to, '' where nothing lives, and
-- else what is there.

-- Lua's numbers are doubles, which do not hold every moment: halves do.
local function is_after(one, other)
  local high, low = struct.unpack('>i4I4', one)
  local than_high, than_low = struct.unpack('>i4I4', other)
  return high > than_high or high == than_high and low > than_low
end

local held = redis.call('GET', KEYS[1])
if held and not is_after(held:sub(2, 9), ARGV[1]) then
  held = false
end

-- Whose record it is, as scope and identity; false where it is nobody's.
local function owner()
  local scope = struct.unpack('>I2', held, 34)
  local identity = struct.unpack('>I2', held, 36 + scope)
  if identity == 65535 then
    return false
  end
  return {held:sub(36, 35 + scope), held:sub(38 + scope, 37 + scope + identity)}
end
