"""The functions and classes that `import sdcli` offers."""
