"""The box as a Modbus TCP server, for control systems."""
