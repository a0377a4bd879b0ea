package engine

import "fmt"

// CheckName returns [ErrLimit], wrapped in words, if a name is empty or longer
// than most bytes. what says whose name it is, for example "queue".
func CheckName(what, name string, most int) error {
	if name == "" {
		return fmt.Errorf("%s is empty: %w", what, ErrLimit)
	}
	return CheckSize(what, len(name), most)
}

// CheckSize returns [ErrLimit], wrapped in words, if something has more than
// most bytes.
func CheckSize(what string, bytes, most int) error {
	if bytes > most {
		return fmt.Errorf("%s has %d bytes, at most %d are carried: %w", what, bytes, most, ErrLimit)
	}
	return nil
}

// Check returns [ErrLimit], wrapped in words, for a publication that no engine
// carries.
func (p Publication) Check() error {
	if err := CheckName("message id", p.ID, MaxID); err != nil {
		return err
	}
	if err := CheckName("queue name", p.Queue, MaxQueue); err != nil {
		return err
	}
	return CheckSize("message", len(p.Headers)+len(p.Properties)+len(p.Body), MaxMessage)
}

// Check returns [ErrLimit], wrapped in words, for a state that no engine keeps.
func (s State) Check() error {
	if err := CheckName("task id", s.ID, MaxID); err != nil {
		return err
	}
	return CheckSize("state record", len(s.Record), MaxRecord)
}

// Check returns [ErrLimit], wrapped in words, for a settlement of which no
// engine can keep all parts.
func (s Settlement) Check() error {
	if s.State != nil {
		if err := s.State.Check(); err != nil {
			return err
		}
	}
	for _, p := range s.Follow {
		if err := p.Check(); err != nil {
			return fmt.Errorf("follow-up %s: %w", p.ID, err)
		}
	}
	return nil
}
