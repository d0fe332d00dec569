"""REST API and dashboard: what people watch and steer jobs with."""
