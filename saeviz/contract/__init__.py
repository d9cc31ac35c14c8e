"""The interface of components: roles, options, specs and context."""
