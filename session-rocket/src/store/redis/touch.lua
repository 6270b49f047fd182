-- ARGV: now, the new expiry, milliseconds to keep the record until then, the version to touch.
-- Replies the owner of the record that it touched.
if not held then
  return ''
end
if held:byte(1) ~= 1 or held:sub(10, 17) ~= ARGV[4] then
  return held
end
if is_after(ARGV[2], held:sub(2, 9)) then
  redis.call('SETRANGE', KEYS[1], 1, ARGV[2])
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
return owner()
