package managed

func (s *Server) partial() bool { return false }

func (s *Server) checkConfigured() error { return nil }

func (s *Server) makeSocketDir() error { return nil }

const debianConfigs = "/etc/postgresql"
