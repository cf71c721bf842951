"""The operators' side under load: the API's answers, the first page of a large fleet, how fast a revoked node is gone."""
