"""The command line and conf/: from arguments to one composed config.

`command` frames every command. `arguments`, `options` and `choices` check what people type, `plugins` loads what they
add, and `trust` limits what config files may call. `composing`, `catalog` and `location` read conf/, `help` shows it.
`hydra_errors` says in our words what Hydra refuses.
`references` keeps ``${oc.env:NAME}`` as it was written, and `migration` updates configs of older versions.
"""
