"""The control room's page: server-rendered, live over one WebSocket, without anything from elsewhere."""
