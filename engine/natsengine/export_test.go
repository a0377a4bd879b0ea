package natsengine

// SetFault has f called between two steps of which the first is durable.
func (e *Engine) SetFault(f func(point string)) { e.fault = f }
