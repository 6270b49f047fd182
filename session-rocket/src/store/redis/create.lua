-- ARGV: now, the record, milliseconds to keep it.
if entry then
  return ''
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return false
