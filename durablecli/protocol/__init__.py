"""Records of histories as messages of the Durable Task protocol, and messages as records: pure, without connections."""
