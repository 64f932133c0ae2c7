# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_berthd_global_optspecs
    string join \n state= config= name= radio= listen= upstream= json h/help V/version
end

function __fish_berthd_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_berthd_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_berthd_using_subcommand
    set -l cmd (__fish_berthd_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c berthd -n "__fish_berthd_needs_command" -l state -d 'Keeps keys, backups and the control socket; made if it is missing [default: /var/lib/berth for root, else ~/.local/state/berth/hub]' -r -F
complete -c berthd -n "__fish_berthd_needs_command" -l config -d 'Settings; the flags here go before them' -r -F
complete -c berthd -n "__fish_berthd_needs_command" -l name -d 'What the hub is called [default: the name of this computer]' -r
complete -c berthd -n "__fish_berthd_needs_command" -l radio -d 'bluez (this computer\'s Bluetooth and Wi-Fi), bluez:ADAPTER (as in hci1), air:SOCKET (simulated, see berth-air) or none [default: bluez]' -r
complete -c berthd -n "__fish_berthd_needs_command" -l listen -d 'Take visits at this address too, over a network that is there' -r
complete -c berthd -n "__fish_berthd_needs_command" -l upstream -d 'Where sets are forwarded to: a folder or a file:// URL' -r
complete -c berthd -n "__fish_berthd_needs_command" -l json -d 'Log, or answer, as JSON'
complete -c berthd -n "__fish_berthd_needs_command" -s h -l help -d 'Print help'
complete -c berthd -n "__fish_berthd_needs_command" -s V -l version -d 'Print version'
complete -c berthd -n "__fish_berthd_needs_command" -f -a "doctor" -d 'Tell what this computer\'s Bluetooth and Wi-Fi can do for a hub, and what to do about what is missing. Changes nothing'
complete -c berthd -n "__fish_berthd_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c berthd -n "__fish_berthd_using_subcommand doctor" -l json -d 'Log, or answer, as JSON'
complete -c berthd -n "__fish_berthd_using_subcommand doctor" -s h -l help -d 'Print help'
complete -c berthd -n "__fish_berthd_using_subcommand help; and not __fish_seen_subcommand_from doctor help" -f -a "doctor" -d 'Tell what this computer\'s Bluetooth and Wi-Fi can do for a hub, and what to do about what is missing. Changes nothing'
complete -c berthd -n "__fish_berthd_using_subcommand help; and not __fish_seen_subcommand_from doctor help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
