# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_berthctl_global_optspecs
    string join \n state= control= json h/help V/version
end

function __fish_berthctl_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_berthctl_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_berthctl_using_subcommand
    set -l cmd (__fish_berthctl_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c berthctl -n "__fish_berthctl_needs_command" -l state -d 'The hub\'s state folder [default: /var/lib/berth for root, else ~/.local/state/berth/hub]' -r -F
complete -c berthctl -n "__fish_berthctl_needs_command" -l control -d 'The hub\'s control socket [default: control.sock in the state folder]' -r -F
complete -c berthctl -n "__fish_berthctl_needs_command" -l json -d 'Print JSON'
complete -c berthctl -n "__fish_berthctl_needs_command" -s h -l help -d 'Print help'
complete -c berthctl -n "__fish_berthctl_needs_command" -s V -l version -d 'Print version'
complete -c berthctl -n "__fish_berthctl_needs_command" -f -a "pair" -d 'Open the pairing window for two minutes and show its code; Ctrl-C closes it'
complete -c berthctl -n "__fish_berthctl_needs_command" -f -a "devices" -d 'List the laptops that are paired, and those that were revoked'
complete -c berthctl -n "__fish_berthctl_needs_command" -f -a "revoke" -d 'Refuse a laptop from now on, in the middle of a visit too'
complete -c berthctl -n "__fish_berthctl_needs_command" -f -a "status" -d 'How the hub is, and what waits'
complete -c berthctl -n "__fish_berthctl_needs_command" -f -a "sets" -d 'List the sets that laptops made here'
complete -c berthctl -n "__fish_berthctl_needs_command" -f -a "forward" -d 'Forward what waits now, until it is upstream or says why not'
complete -c berthctl -n "__fish_berthctl_needs_command" -f -a "upstream" -d 'The server that sets are forwarded to'
complete -c berthctl -n "__fish_berthctl_needs_command" -f -a "server" -d 'The backup servers that may call this hub'
complete -c berthctl -n "__fish_berthctl_needs_command" -f -a "pull" -d 'On a backup server: copy every laptop\'s sets from a hub, without any key, into a folder of restic repositories'
complete -c berthctl -n "__fish_berthctl_needs_command" -f -a "verify" -d 'Read everything that is kept here, and name what is damaged or missing'
complete -c berthctl -n "__fish_berthctl_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c berthctl -n "__fish_berthctl_using_subcommand pair" -l state -d 'The hub\'s state folder [default: /var/lib/berth for root, else ~/.local/state/berth/hub]' -r -F
complete -c berthctl -n "__fish_berthctl_using_subcommand pair" -l control -d 'The hub\'s control socket [default: control.sock in the state folder]' -r -F
complete -c berthctl -n "__fish_berthctl_using_subcommand pair" -l json -d 'Print JSON'
complete -c berthctl -n "__fish_berthctl_using_subcommand pair" -s h -l help -d 'Print help'
complete -c berthctl -n "__fish_berthctl_using_subcommand devices" -l state -d 'The hub\'s state folder [default: /var/lib/berth for root, else ~/.local/state/berth/hub]' -r -F
complete -c berthctl -n "__fish_berthctl_using_subcommand devices" -l control -d 'The hub\'s control socket [default: control.sock in the state folder]' -r -F
complete -c berthctl -n "__fish_berthctl_using_subcommand devices" -l json -d 'Print JSON'
complete -c berthctl -n "__fish_berthctl_using_subcommand devices" -s h -l help -d 'Print help'
complete -c berthctl -n "__fish_berthctl_using_subcommand revoke" -l state -d 'The hub\'s state folder [default: /var/lib/berth for root, else ~/.local/state/berth/hub]' -r -F
complete -c berthctl -n "__fish_berthctl_using_subcommand revoke" -l control -d 'The hub\'s control socket [default: control.sock in the state folder]' -r -F
complete -c berthctl -n "__fish_berthctl_using_subcommand revoke" -l json -d 'Print JSON'
complete -c berthctl -n "__fish_berthctl_using_subcommand revoke" -s h -l help -d 'Print help'
complete -c berthctl -n "__fish_berthctl_using_subcommand status" -l state -d 'The hub\'s state folder [default: /var/lib/berth for root, else ~/.local/state/berth/hub]' -r -F
complete -c berthctl -n "__fish_berthctl_using_subcommand status" -l control -d 'The hub\'s control socket [default: control.sock in the state folder]' -r -F
complete -c berthctl -n "__fish_berthctl_using_subcommand status" -l json -d 'Print JSON'
complete -c berthctl -n "__fish_berthctl_using_subcommand status" -s h -l help -d 'Print help'
complete -c berthctl -n "__fish_berthctl_using_subcommand sets" -l state -d 'The hub\'s state folder [default: /var/lib/berth for root, else ~/.local/state/berth/hub]' -r -F
complete -c berthctl -n "__fish_berthctl_using_subcommand sets" -l control -d 'The hub\'s control socket [default: control.sock in the state folder]' -r -F
complete -c berthctl -n "__fish_berthctl_using_subcommand sets" -l json -d 'Print JSON'
complete -c berthctl -n "__fish_berthctl_using_subcommand sets" -s h -l help -d 'Print help'
complete -c berthctl -n "__fish_berthctl_using_subcommand forward" -l state -d 'The hub\'s state folder [default: /var/lib/berth for root, else ~/.local/state/berth/hub]' -r -F
complete -c berthctl -n "__fish_berthctl_using_subcommand forward" -l control -d 'The hub\'s control socket [default: control.sock in the state folder]' -r -F
complete -c berthctl -n "__fish_berthctl_using_subcommand forward" -l json -d 'Print JSON'
complete -c berthctl -n "__fish_berthctl_using_subcommand forward" -s h -l help -d 'Print help'
complete -c berthctl -n "__fish_berthctl_using_subcommand upstream; and not __fish_seen_subcommand_from set help" -l state -d 'The hub\'s state folder [default: /var/lib/berth for root, else ~/.local/state/berth/hub]' -r -F
complete -c berthctl -n "__fish_berthctl_using_subcommand upstream; and not __fish_seen_subcommand_from set help" -l control -d 'The hub\'s control socket [default: control.sock in the state folder]' -r -F
complete -c berthctl -n "__fish_berthctl_using_subcommand upstream; and not __fish_seen_subcommand_from set help" -l json -d 'Print JSON'
complete -c berthctl -n "__fish_berthctl_using_subcommand upstream; and not __fish_seen_subcommand_from set help" -s h -l help -d 'Print help'
complete -c berthctl -n "__fish_berthctl_using_subcommand upstream; and not __fish_seen_subcommand_from set help" -f -a "set" -d 'Check that it can be written, and use it from now on'
complete -c berthctl -n "__fish_berthctl_using_subcommand upstream; and not __fish_seen_subcommand_from set help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c berthctl -n "__fish_berthctl_using_subcommand upstream; and __fish_seen_subcommand_from set" -l state -d 'The hub\'s state folder [default: /var/lib/berth for root, else ~/.local/state/berth/hub]' -r -F
complete -c berthctl -n "__fish_berthctl_using_subcommand upstream; and __fish_seen_subcommand_from set" -l control -d 'The hub\'s control socket [default: control.sock in the state folder]' -r -F
complete -c berthctl -n "__fish_berthctl_using_subcommand upstream; and __fish_seen_subcommand_from set" -l json -d 'Print JSON'
complete -c berthctl -n "__fish_berthctl_using_subcommand upstream; and __fish_seen_subcommand_from set" -s h -l help -d 'Print help'
complete -c berthctl -n "__fish_berthctl_using_subcommand upstream; and __fish_seen_subcommand_from help" -f -a "set" -d 'Check that it can be written, and use it from now on'
complete -c berthctl -n "__fish_berthctl_using_subcommand upstream; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c berthctl -n "__fish_berthctl_using_subcommand server; and not __fish_seen_subcommand_from add remove list help" -l state -d 'The hub\'s state folder [default: /var/lib/berth for root, else ~/.local/state/berth/hub]' -r -F
complete -c berthctl -n "__fish_berthctl_using_subcommand server; and not __fish_seen_subcommand_from add remove list help" -l control -d 'The hub\'s control socket [default: control.sock in the state folder]' -r -F
complete -c berthctl -n "__fish_berthctl_using_subcommand server; and not __fish_seen_subcommand_from add remove list help" -l json -d 'Print JSON'
complete -c berthctl -n "__fish_berthctl_using_subcommand server; and not __fish_seen_subcommand_from add remove list help" -s h -l help -d 'Print help'
complete -c berthctl -n "__fish_berthctl_using_subcommand server; and not __fish_seen_subcommand_from add remove list help" -f -a "add" -d 'Let a server call, and show its token, this once'
complete -c berthctl -n "__fish_berthctl_using_subcommand server; and not __fish_seen_subcommand_from add remove list help" -f -a "remove" -d 'Refuse a server from now on'
complete -c berthctl -n "__fish_berthctl_using_subcommand server; and not __fish_seen_subcommand_from add remove list help" -f -a "list" -d 'List the servers that may call'
complete -c berthctl -n "__fish_berthctl_using_subcommand server; and not __fish_seen_subcommand_from add remove list help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c berthctl -n "__fish_berthctl_using_subcommand server; and __fish_seen_subcommand_from add" -l state -d 'The hub\'s state folder [default: /var/lib/berth for root, else ~/.local/state/berth/hub]' -r -F
complete -c berthctl -n "__fish_berthctl_using_subcommand server; and __fish_seen_subcommand_from add" -l control -d 'The hub\'s control socket [default: control.sock in the state folder]' -r -F
complete -c berthctl -n "__fish_berthctl_using_subcommand server; and __fish_seen_subcommand_from add" -l json -d 'Print JSON'
complete -c berthctl -n "__fish_berthctl_using_subcommand server; and __fish_seen_subcommand_from add" -s h -l help -d 'Print help'
complete -c berthctl -n "__fish_berthctl_using_subcommand server; and __fish_seen_subcommand_from remove" -l state -d 'The hub\'s state folder [default: /var/lib/berth for root, else ~/.local/state/berth/hub]' -r -F
complete -c berthctl -n "__fish_berthctl_using_subcommand server; and __fish_seen_subcommand_from remove" -l control -d 'The hub\'s control socket [default: control.sock in the state folder]' -r -F
complete -c berthctl -n "__fish_berthctl_using_subcommand server; and __fish_seen_subcommand_from remove" -l json -d 'Print JSON'
complete -c berthctl -n "__fish_berthctl_using_subcommand server; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help'
complete -c berthctl -n "__fish_berthctl_using_subcommand server; and __fish_seen_subcommand_from list" -l state -d 'The hub\'s state folder [default: /var/lib/berth for root, else ~/.local/state/berth/hub]' -r -F
complete -c berthctl -n "__fish_berthctl_using_subcommand server; and __fish_seen_subcommand_from list" -l control -d 'The hub\'s control socket [default: control.sock in the state folder]' -r -F
complete -c berthctl -n "__fish_berthctl_using_subcommand server; and __fish_seen_subcommand_from list" -l json -d 'Print JSON'
complete -c berthctl -n "__fish_berthctl_using_subcommand server; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c berthctl -n "__fish_berthctl_using_subcommand server; and __fish_seen_subcommand_from help" -f -a "add" -d 'Let a server call, and show its token, this once'
complete -c berthctl -n "__fish_berthctl_using_subcommand server; and __fish_seen_subcommand_from help" -f -a "remove" -d 'Refuse a server from now on'
complete -c berthctl -n "__fish_berthctl_using_subcommand server; and __fish_seen_subcommand_from help" -f -a "list" -d 'List the servers that may call'
complete -c berthctl -n "__fish_berthctl_using_subcommand server; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c berthctl -n "__fish_berthctl_using_subcommand pull" -l laptop -d 'Only this laptop, by its name or its whole key; may be given again' -r
complete -c berthctl -n "__fish_berthctl_using_subcommand pull" -l token-file -d 'The token, in a file that nobody else can read, or `-` for standard input [default: BERTH_TOKEN in the environment]' -r -F
complete -c berthctl -n "__fish_berthctl_using_subcommand pull" -l ca-file -d 'The hub\'s certificate, PEM [default: certificates that the system believes]' -r -F
complete -c berthctl -n "__fish_berthctl_using_subcommand pull" -l state -d 'The hub\'s state folder [default: /var/lib/berth for root, else ~/.local/state/berth/hub]' -r -F
complete -c berthctl -n "__fish_berthctl_using_subcommand pull" -l control -d 'The hub\'s control socket [default: control.sock in the state folder]' -r -F
complete -c berthctl -n "__fish_berthctl_using_subcommand pull" -l json -d 'Print JSON'
complete -c berthctl -n "__fish_berthctl_using_subcommand pull" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c berthctl -n "__fish_berthctl_using_subcommand verify" -l state -d 'The hub\'s state folder [default: /var/lib/berth for root, else ~/.local/state/berth/hub]' -r -F
complete -c berthctl -n "__fish_berthctl_using_subcommand verify" -l control -d 'The hub\'s control socket [default: control.sock in the state folder]' -r -F
complete -c berthctl -n "__fish_berthctl_using_subcommand verify" -l json -d 'Print JSON'
complete -c berthctl -n "__fish_berthctl_using_subcommand verify" -s h -l help -d 'Print help'
complete -c berthctl -n "__fish_berthctl_using_subcommand help; and not __fish_seen_subcommand_from pair devices revoke status sets forward upstream server pull verify help" -f -a "pair" -d 'Open the pairing window for two minutes and show its code; Ctrl-C closes it'
complete -c berthctl -n "__fish_berthctl_using_subcommand help; and not __fish_seen_subcommand_from pair devices revoke status sets forward upstream server pull verify help" -f -a "devices" -d 'List the laptops that are paired, and those that were revoked'
complete -c berthctl -n "__fish_berthctl_using_subcommand help; and not __fish_seen_subcommand_from pair devices revoke status sets forward upstream server pull verify help" -f -a "revoke" -d 'Refuse a laptop from now on, in the middle of a visit too'
complete -c berthctl -n "__fish_berthctl_using_subcommand help; and not __fish_seen_subcommand_from pair devices revoke status sets forward upstream server pull verify help" -f -a "status" -d 'How the hub is, and what waits'
complete -c berthctl -n "__fish_berthctl_using_subcommand help; and not __fish_seen_subcommand_from pair devices revoke status sets forward upstream server pull verify help" -f -a "sets" -d 'List the sets that laptops made here'
complete -c berthctl -n "__fish_berthctl_using_subcommand help; and not __fish_seen_subcommand_from pair devices revoke status sets forward upstream server pull verify help" -f -a "forward" -d 'Forward what waits now, until it is upstream or says why not'
complete -c berthctl -n "__fish_berthctl_using_subcommand help; and not __fish_seen_subcommand_from pair devices revoke status sets forward upstream server pull verify help" -f -a "upstream" -d 'The server that sets are forwarded to'
complete -c berthctl -n "__fish_berthctl_using_subcommand help; and not __fish_seen_subcommand_from pair devices revoke status sets forward upstream server pull verify help" -f -a "server" -d 'The backup servers that may call this hub'
complete -c berthctl -n "__fish_berthctl_using_subcommand help; and not __fish_seen_subcommand_from pair devices revoke status sets forward upstream server pull verify help" -f -a "pull" -d 'On a backup server: copy every laptop\'s sets from a hub, without any key, into a folder of restic repositories'
complete -c berthctl -n "__fish_berthctl_using_subcommand help; and not __fish_seen_subcommand_from pair devices revoke status sets forward upstream server pull verify help" -f -a "verify" -d 'Read everything that is kept here, and name what is damaged or missing'
complete -c berthctl -n "__fish_berthctl_using_subcommand help; and not __fish_seen_subcommand_from pair devices revoke status sets forward upstream server pull verify help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c berthctl -n "__fish_berthctl_using_subcommand help; and __fish_seen_subcommand_from upstream" -f -a "set" -d 'Check that it can be written, and use it from now on'
complete -c berthctl -n "__fish_berthctl_using_subcommand help; and __fish_seen_subcommand_from server" -f -a "add" -d 'Let a server call, and show its token, this once'
complete -c berthctl -n "__fish_berthctl_using_subcommand help; and __fish_seen_subcommand_from server" -f -a "remove" -d 'Refuse a server from now on'
complete -c berthctl -n "__fish_berthctl_using_subcommand help; and __fish_seen_subcommand_from server" -f -a "list" -d 'List the servers that may call'
