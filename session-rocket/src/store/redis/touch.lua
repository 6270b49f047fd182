-- Postpones the expiry of a record.
-- ARGV: now, the new expiry, the milliseconds for which Redis then keeps the record, the expected version.
-- After a success, replies {scope, identity} of the record, or false if the record has no identity.
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
