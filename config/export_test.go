package config

// Pointer returns where c keeps the key's value, for the test that finds fields without a key.
func (k *Key) Pointer(c *Config) any { return k.field(c) }
