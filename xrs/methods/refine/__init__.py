"""Methods that improve what another method fused: ``inject=`` of the fusion verbs."""
