"""The appliance as an operator gets it: packages, units, containers. What boots anything runs where it is asked for."""
