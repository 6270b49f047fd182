-- ARGV: now, the new expiry, milliseconds to keep the record until then, the version to touch.
-- Replies the owner of the record that it touched.
if not entry then
  return ''
end
if entry:byte(1) ~= 1 or entry:sub(10, 17) ~= ARGV[4] then
  return entry
end
if is_after(ARGV[2], entry:sub(2, 9)) then
  redis.call('SETRANGE', KEYS[1], 1, ARGV[2])
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
return owner()
