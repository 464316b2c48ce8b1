"""A sandbox in a person's words, from Spec, Host and Plan. Pure; printing lives in `lifecycle`."""
