package enrol

// SaveInSteps is Save with a function that is called before everything that changes
// the disk.
func (c *Credentials) SaveInSteps(dir string, step func(what string)) error { return c.save(dir, step) }
