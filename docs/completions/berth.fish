# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_berth_global_optspecs
    string join \n state= name= radio= via= json h/help V/version
end

function __fish_berth_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_berth_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_berth_using_subcommand
    set -l cmd (__fish_berth_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c berth -n "__fish_berth_needs_command" -l state -d 'Keeps keys, settings and what is known of the hubs [default: ~/.local/state/berth, or $XDG_STATE_HOME/berth; /var/lib/berth-laptop for root]' -r -F
complete -c berth -n "__fish_berth_needs_command" -l name -d 'What this laptop calls itself, reduced to letters, digits, \'.\', \'_\' and \'-\'; `pair` keeps it [default: the host\'s name]' -r
complete -c berth -n "__fish_berth_needs_command" -l radio -d 'How hubs are found: `bluez` (this computer\'s Bluetooth and Wi-Fi), `bluez:ADAPTER` (as in `hci1`), `air:SOCKET` (the air of berth-air) or `none` [default: `none` with --via, else `bluez`]' -r
complete -c berth -n "__fish_berth_needs_command" -l via -d 'Reach the hub at this address, over a network that is there, instead of by radio' -r
complete -c berth -n "__fish_berth_needs_command" -l json -d 'For scripts: one JSON object for each event, or one answer'
complete -c berth -n "__fish_berth_needs_command" -s h -l help -d 'Print help'
complete -c berth -n "__fish_berth_needs_command" -s V -l version -d 'Print version'
complete -c berth -n "__fish_berth_needs_command" -f -a "pair" -d 'Pair with the hub that shows this code. Once for each hub'
complete -c berth -n "__fish_berth_needs_command" -f -a "backup" -d 'Back up now, and show how it goes. Ctrl-C ends it with a checkpoint; what has arrived stays'
complete -c berth -n "__fish_berth_needs_command" -f -a "agent" -d 'Wait for the hub and back up whenever it is near. One for each state folder'
complete -c berth -n "__fish_berth_needs_command" -f -a "status" -d 'What is safe on the hub, what upstream, what was cut, what is overdue'
complete -c berth -n "__fish_berth_needs_command" -f -a "sets" -d 'The sets that this laptop knows of, at every hub'
complete -c berth -n "__fish_berth_needs_command" -f -a "ls" -d 'List what is in a set, on the hub or, with --from, upstream'
complete -c berth -n "__fish_berth_needs_command" -f -a "cat" -d 'Write a file of a set to standard output'
complete -c berth -n "__fish_berth_needs_command" -f -a "restore" -d 'Restore files of a set from the hub or, with --from, from the upstream. One that was cut goes on when it is done again'
complete -c berth -n "__fish_berth_needs_command" -f -a "recovery-key" -d 'Show the key that opens the backups: write it down and keep it away from this laptop'
complete -c berth -n "__fish_berth_needs_command" -f -a "folders" -d 'What is backed up'
complete -c berth -n "__fish_berth_needs_command" -f -a "exclude" -d 'What is left out: lines as in a .gitignore file in `/`; later ones win, `!` takes back'
complete -c berth -n "__fish_berth_needs_command" -f -a "leave" -d 'End the visit that is under way: a checkpoint, goodbye, and you may go'
complete -c berth -n "__fish_berth_needs_command" -f -a "doctor" -d 'Tell what this laptop\'s Bluetooth and Wi-Fi can do, and what to do about what is missing. Changes nothing'
complete -c berth -n "__fish_berth_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c berth -n "__fish_berth_using_subcommand pair" -l state -d 'Keeps keys, settings and what is known of the hubs [default: ~/.local/state/berth, or $XDG_STATE_HOME/berth; /var/lib/berth-laptop for root]' -r -F
complete -c berth -n "__fish_berth_using_subcommand pair" -l name -d 'What this laptop calls itself, reduced to letters, digits, \'.\', \'_\' and \'-\'; `pair` keeps it [default: the host\'s name]' -r
complete -c berth -n "__fish_berth_using_subcommand pair" -l radio -d 'How hubs are found: `bluez` (this computer\'s Bluetooth and Wi-Fi), `bluez:ADAPTER` (as in `hci1`), `air:SOCKET` (the air of berth-air) or `none` [default: `none` with --via, else `bluez`]' -r
complete -c berth -n "__fish_berth_using_subcommand pair" -l via -d 'Reach the hub at this address, over a network that is there, instead of by radio' -r
complete -c berth -n "__fish_berth_using_subcommand pair" -l json -d 'For scripts: one JSON object for each event, or one answer'
complete -c berth -n "__fish_berth_using_subcommand pair" -s h -l help -d 'Print help'
complete -c berth -n "__fish_berth_using_subcommand backup" -l state -d 'Keeps keys, settings and what is known of the hubs [default: ~/.local/state/berth, or $XDG_STATE_HOME/berth; /var/lib/berth-laptop for root]' -r -F
complete -c berth -n "__fish_berth_using_subcommand backup" -l name -d 'What this laptop calls itself, reduced to letters, digits, \'.\', \'_\' and \'-\'; `pair` keeps it [default: the host\'s name]' -r
complete -c berth -n "__fish_berth_using_subcommand backup" -l radio -d 'How hubs are found: `bluez` (this computer\'s Bluetooth and Wi-Fi), `bluez:ADAPTER` (as in `hci1`), `air:SOCKET` (the air of berth-air) or `none` [default: `none` with --via, else `bluez`]' -r
complete -c berth -n "__fish_berth_using_subcommand backup" -l via -d 'Reach the hub at this address, over a network that is there, instead of by radio' -r
complete -c berth -n "__fish_berth_using_subcommand backup" -l json -d 'For scripts: one JSON object for each event, or one answer'
complete -c berth -n "__fish_berth_using_subcommand backup" -s h -l help -d 'Print help'
complete -c berth -n "__fish_berth_using_subcommand agent" -l state -d 'Keeps keys, settings and what is known of the hubs [default: ~/.local/state/berth, or $XDG_STATE_HOME/berth; /var/lib/berth-laptop for root]' -r -F
complete -c berth -n "__fish_berth_using_subcommand agent" -l name -d 'What this laptop calls itself, reduced to letters, digits, \'.\', \'_\' and \'-\'; `pair` keeps it [default: the host\'s name]' -r
complete -c berth -n "__fish_berth_using_subcommand agent" -l radio -d 'How hubs are found: `bluez` (this computer\'s Bluetooth and Wi-Fi), `bluez:ADAPTER` (as in `hci1`), `air:SOCKET` (the air of berth-air) or `none` [default: `none` with --via, else `bluez`]' -r
complete -c berth -n "__fish_berth_using_subcommand agent" -l via -d 'Reach the hub at this address, over a network that is there, instead of by radio' -r
complete -c berth -n "__fish_berth_using_subcommand agent" -l json -d 'For scripts: one JSON object for each event, or one answer'
complete -c berth -n "__fish_berth_using_subcommand agent" -s h -l help -d 'Print help'
complete -c berth -n "__fish_berth_using_subcommand status" -l state -d 'Keeps keys, settings and what is known of the hubs [default: ~/.local/state/berth, or $XDG_STATE_HOME/berth; /var/lib/berth-laptop for root]' -r -F
complete -c berth -n "__fish_berth_using_subcommand status" -l name -d 'What this laptop calls itself, reduced to letters, digits, \'.\', \'_\' and \'-\'; `pair` keeps it [default: the host\'s name]' -r
complete -c berth -n "__fish_berth_using_subcommand status" -l radio -d 'How hubs are found: `bluez` (this computer\'s Bluetooth and Wi-Fi), `bluez:ADAPTER` (as in `hci1`), `air:SOCKET` (the air of berth-air) or `none` [default: `none` with --via, else `bluez`]' -r
complete -c berth -n "__fish_berth_using_subcommand status" -l via -d 'Reach the hub at this address, over a network that is there, instead of by radio' -r
complete -c berth -n "__fish_berth_using_subcommand status" -l json -d 'For scripts: one JSON object for each event, or one answer'
complete -c berth -n "__fish_berth_using_subcommand status" -s h -l help -d 'Print help'
complete -c berth -n "__fish_berth_using_subcommand sets" -l state -d 'Keeps keys, settings and what is known of the hubs [default: ~/.local/state/berth, or $XDG_STATE_HOME/berth; /var/lib/berth-laptop for root]' -r -F
complete -c berth -n "__fish_berth_using_subcommand sets" -l name -d 'What this laptop calls itself, reduced to letters, digits, \'.\', \'_\' and \'-\'; `pair` keeps it [default: the host\'s name]' -r
complete -c berth -n "__fish_berth_using_subcommand sets" -l radio -d 'How hubs are found: `bluez` (this computer\'s Bluetooth and Wi-Fi), `bluez:ADAPTER` (as in `hci1`), `air:SOCKET` (the air of berth-air) or `none` [default: `none` with --via, else `bluez`]' -r
complete -c berth -n "__fish_berth_using_subcommand sets" -l via -d 'Reach the hub at this address, over a network that is there, instead of by radio' -r
complete -c berth -n "__fish_berth_using_subcommand sets" -l json -d 'For scripts: one JSON object for each event, or one answer'
complete -c berth -n "__fish_berth_using_subcommand sets" -s h -l help -d 'Print help'
complete -c berth -n "__fish_berth_using_subcommand ls" -l from -d 'Read from the upstream itself, without a hub: the laptop\'s repository there, as in UPSTREAM/NAME. The recovery key is asked for, or read from standard input' -r
complete -c berth -n "__fish_berth_using_subcommand ls" -l credentials -d 'What the upstream wants to know, as on the hub: user and password, or keys [default: from the environment]' -r -F
complete -c berth -n "__fish_berth_using_subcommand ls" -l state -d 'Keeps keys, settings and what is known of the hubs [default: ~/.local/state/berth, or $XDG_STATE_HOME/berth; /var/lib/berth-laptop for root]' -r -F
complete -c berth -n "__fish_berth_using_subcommand ls" -l name -d 'What this laptop calls itself, reduced to letters, digits, \'.\', \'_\' and \'-\'; `pair` keeps it [default: the host\'s name]' -r
complete -c berth -n "__fish_berth_using_subcommand ls" -l radio -d 'How hubs are found: `bluez` (this computer\'s Bluetooth and Wi-Fi), `bluez:ADAPTER` (as in `hci1`), `air:SOCKET` (the air of berth-air) or `none` [default: `none` with --via, else `bluez`]' -r
complete -c berth -n "__fish_berth_using_subcommand ls" -l via -d 'Reach the hub at this address, over a network that is there, instead of by radio' -r
complete -c berth -n "__fish_berth_using_subcommand ls" -l json -d 'For scripts: one JSON object for each event, or one answer'
complete -c berth -n "__fish_berth_using_subcommand ls" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c berth -n "__fish_berth_using_subcommand cat" -l from -d 'Read from the upstream itself, without a hub: the laptop\'s repository there, as in UPSTREAM/NAME. The recovery key is asked for, or read from standard input' -r
complete -c berth -n "__fish_berth_using_subcommand cat" -l credentials -d 'What the upstream wants to know, as on the hub: user and password, or keys [default: from the environment]' -r -F
complete -c berth -n "__fish_berth_using_subcommand cat" -l state -d 'Keeps keys, settings and what is known of the hubs [default: ~/.local/state/berth, or $XDG_STATE_HOME/berth; /var/lib/berth-laptop for root]' -r -F
complete -c berth -n "__fish_berth_using_subcommand cat" -l name -d 'What this laptop calls itself, reduced to letters, digits, \'.\', \'_\' and \'-\'; `pair` keeps it [default: the host\'s name]' -r
complete -c berth -n "__fish_berth_using_subcommand cat" -l radio -d 'How hubs are found: `bluez` (this computer\'s Bluetooth and Wi-Fi), `bluez:ADAPTER` (as in `hci1`), `air:SOCKET` (the air of berth-air) or `none` [default: `none` with --via, else `bluez`]' -r
complete -c berth -n "__fish_berth_using_subcommand cat" -l via -d 'Reach the hub at this address, over a network that is there, instead of by radio' -r
complete -c berth -n "__fish_berth_using_subcommand cat" -l json -d 'For scripts: one JSON object for each event, or one answer'
complete -c berth -n "__fish_berth_using_subcommand cat" -s h -l help -d 'Print help'
complete -c berth -n "__fish_berth_using_subcommand restore" -l to -d 'Put them below this folder by their full paths. It is made if it is missing' -r -F
complete -c berth -n "__fish_berth_using_subcommand restore" -l from -d 'Read from the upstream itself, without a hub: the laptop\'s repository there, as in UPSTREAM/NAME. The recovery key is asked for, or read from standard input' -r
complete -c berth -n "__fish_berth_using_subcommand restore" -l credentials -d 'What the upstream wants to know, as on the hub: user and password, or keys [default: from the environment]' -r -F
complete -c berth -n "__fish_berth_using_subcommand restore" -l state -d 'Keeps keys, settings and what is known of the hubs [default: ~/.local/state/berth, or $XDG_STATE_HOME/berth; /var/lib/berth-laptop for root]' -r -F
complete -c berth -n "__fish_berth_using_subcommand restore" -l name -d 'What this laptop calls itself, reduced to letters, digits, \'.\', \'_\' and \'-\'; `pair` keeps it [default: the host\'s name]' -r
complete -c berth -n "__fish_berth_using_subcommand restore" -l radio -d 'How hubs are found: `bluez` (this computer\'s Bluetooth and Wi-Fi), `bluez:ADAPTER` (as in `hci1`), `air:SOCKET` (the air of berth-air) or `none` [default: `none` with --via, else `bluez`]' -r
complete -c berth -n "__fish_berth_using_subcommand restore" -l via -d 'Reach the hub at this address, over a network that is there, instead of by radio' -r
complete -c berth -n "__fish_berth_using_subcommand restore" -l overwrite -d 'Replace files that are there and differ. Without it they stay, and are named'
complete -c berth -n "__fish_berth_using_subcommand restore" -l json -d 'For scripts: one JSON object for each event, or one answer'
complete -c berth -n "__fish_berth_using_subcommand restore" -s h -l help -d 'Print help'
complete -c berth -n "__fish_berth_using_subcommand recovery-key" -l state -d 'Keeps keys, settings and what is known of the hubs [default: ~/.local/state/berth, or $XDG_STATE_HOME/berth; /var/lib/berth-laptop for root]' -r -F
complete -c berth -n "__fish_berth_using_subcommand recovery-key" -l name -d 'What this laptop calls itself, reduced to letters, digits, \'.\', \'_\' and \'-\'; `pair` keeps it [default: the host\'s name]' -r
complete -c berth -n "__fish_berth_using_subcommand recovery-key" -l radio -d 'How hubs are found: `bluez` (this computer\'s Bluetooth and Wi-Fi), `bluez:ADAPTER` (as in `hci1`), `air:SOCKET` (the air of berth-air) or `none` [default: `none` with --via, else `bluez`]' -r
complete -c berth -n "__fish_berth_using_subcommand recovery-key" -l via -d 'Reach the hub at this address, over a network that is there, instead of by radio' -r
complete -c berth -n "__fish_berth_using_subcommand recovery-key" -l json -d 'For scripts: one JSON object for each event, or one answer'
complete -c berth -n "__fish_berth_using_subcommand recovery-key" -s h -l help -d 'Print help'
complete -c berth -n "__fish_berth_using_subcommand folders; and not __fish_seen_subcommand_from add remove list help" -l state -d 'Keeps keys, settings and what is known of the hubs [default: ~/.local/state/berth, or $XDG_STATE_HOME/berth; /var/lib/berth-laptop for root]' -r -F
complete -c berth -n "__fish_berth_using_subcommand folders; and not __fish_seen_subcommand_from add remove list help" -l name -d 'What this laptop calls itself, reduced to letters, digits, \'.\', \'_\' and \'-\'; `pair` keeps it [default: the host\'s name]' -r
complete -c berth -n "__fish_berth_using_subcommand folders; and not __fish_seen_subcommand_from add remove list help" -l radio -d 'How hubs are found: `bluez` (this computer\'s Bluetooth and Wi-Fi), `bluez:ADAPTER` (as in `hci1`), `air:SOCKET` (the air of berth-air) or `none` [default: `none` with --via, else `bluez`]' -r
complete -c berth -n "__fish_berth_using_subcommand folders; and not __fish_seen_subcommand_from add remove list help" -l via -d 'Reach the hub at this address, over a network that is there, instead of by radio' -r
complete -c berth -n "__fish_berth_using_subcommand folders; and not __fish_seen_subcommand_from add remove list help" -l json -d 'For scripts: one JSON object for each event, or one answer'
complete -c berth -n "__fish_berth_using_subcommand folders; and not __fish_seen_subcommand_from add remove list help" -s h -l help -d 'Print help'
complete -c berth -n "__fish_berth_using_subcommand folders; and not __fish_seen_subcommand_from add remove list help" -f -a "add" -d 'Back this folder up too. The first one takes the place of the default'
complete -c berth -n "__fish_berth_using_subcommand folders; and not __fish_seen_subcommand_from add remove list help" -f -a "remove" -d 'Do not back this folder up any more. What was backed up stays'
complete -c berth -n "__fish_berth_using_subcommand folders; and not __fish_seen_subcommand_from add remove list help" -f -a "list" -d 'Show them'
complete -c berth -n "__fish_berth_using_subcommand folders; and not __fish_seen_subcommand_from add remove list help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c berth -n "__fish_berth_using_subcommand folders; and __fish_seen_subcommand_from add" -l state -d 'Keeps keys, settings and what is known of the hubs [default: ~/.local/state/berth, or $XDG_STATE_HOME/berth; /var/lib/berth-laptop for root]' -r -F
complete -c berth -n "__fish_berth_using_subcommand folders; and __fish_seen_subcommand_from add" -l name -d 'What this laptop calls itself, reduced to letters, digits, \'.\', \'_\' and \'-\'; `pair` keeps it [default: the host\'s name]' -r
complete -c berth -n "__fish_berth_using_subcommand folders; and __fish_seen_subcommand_from add" -l radio -d 'How hubs are found: `bluez` (this computer\'s Bluetooth and Wi-Fi), `bluez:ADAPTER` (as in `hci1`), `air:SOCKET` (the air of berth-air) or `none` [default: `none` with --via, else `bluez`]' -r
complete -c berth -n "__fish_berth_using_subcommand folders; and __fish_seen_subcommand_from add" -l via -d 'Reach the hub at this address, over a network that is there, instead of by radio' -r
complete -c berth -n "__fish_berth_using_subcommand folders; and __fish_seen_subcommand_from add" -l json -d 'For scripts: one JSON object for each event, or one answer'
complete -c berth -n "__fish_berth_using_subcommand folders; and __fish_seen_subcommand_from add" -s h -l help -d 'Print help'
complete -c berth -n "__fish_berth_using_subcommand folders; and __fish_seen_subcommand_from remove" -l state -d 'Keeps keys, settings and what is known of the hubs [default: ~/.local/state/berth, or $XDG_STATE_HOME/berth; /var/lib/berth-laptop for root]' -r -F
complete -c berth -n "__fish_berth_using_subcommand folders; and __fish_seen_subcommand_from remove" -l name -d 'What this laptop calls itself, reduced to letters, digits, \'.\', \'_\' and \'-\'; `pair` keeps it [default: the host\'s name]' -r
complete -c berth -n "__fish_berth_using_subcommand folders; and __fish_seen_subcommand_from remove" -l radio -d 'How hubs are found: `bluez` (this computer\'s Bluetooth and Wi-Fi), `bluez:ADAPTER` (as in `hci1`), `air:SOCKET` (the air of berth-air) or `none` [default: `none` with --via, else `bluez`]' -r
complete -c berth -n "__fish_berth_using_subcommand folders; and __fish_seen_subcommand_from remove" -l via -d 'Reach the hub at this address, over a network that is there, instead of by radio' -r
complete -c berth -n "__fish_berth_using_subcommand folders; and __fish_seen_subcommand_from remove" -l json -d 'For scripts: one JSON object for each event, or one answer'
complete -c berth -n "__fish_berth_using_subcommand folders; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help'
complete -c berth -n "__fish_berth_using_subcommand folders; and __fish_seen_subcommand_from list" -l state -d 'Keeps keys, settings and what is known of the hubs [default: ~/.local/state/berth, or $XDG_STATE_HOME/berth; /var/lib/berth-laptop for root]' -r -F
complete -c berth -n "__fish_berth_using_subcommand folders; and __fish_seen_subcommand_from list" -l name -d 'What this laptop calls itself, reduced to letters, digits, \'.\', \'_\' and \'-\'; `pair` keeps it [default: the host\'s name]' -r
complete -c berth -n "__fish_berth_using_subcommand folders; and __fish_seen_subcommand_from list" -l radio -d 'How hubs are found: `bluez` (this computer\'s Bluetooth and Wi-Fi), `bluez:ADAPTER` (as in `hci1`), `air:SOCKET` (the air of berth-air) or `none` [default: `none` with --via, else `bluez`]' -r
complete -c berth -n "__fish_berth_using_subcommand folders; and __fish_seen_subcommand_from list" -l via -d 'Reach the hub at this address, over a network that is there, instead of by radio' -r
complete -c berth -n "__fish_berth_using_subcommand folders; and __fish_seen_subcommand_from list" -l json -d 'For scripts: one JSON object for each event, or one answer'
complete -c berth -n "__fish_berth_using_subcommand folders; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c berth -n "__fish_berth_using_subcommand folders; and __fish_seen_subcommand_from help" -f -a "add" -d 'Back this folder up too. The first one takes the place of the default'
complete -c berth -n "__fish_berth_using_subcommand folders; and __fish_seen_subcommand_from help" -f -a "remove" -d 'Do not back this folder up any more. What was backed up stays'
complete -c berth -n "__fish_berth_using_subcommand folders; and __fish_seen_subcommand_from help" -f -a "list" -d 'Show them'
complete -c berth -n "__fish_berth_using_subcommand folders; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c berth -n "__fish_berth_using_subcommand exclude; and not __fish_seen_subcommand_from add remove list help" -l state -d 'Keeps keys, settings and what is known of the hubs [default: ~/.local/state/berth, or $XDG_STATE_HOME/berth; /var/lib/berth-laptop for root]' -r -F
complete -c berth -n "__fish_berth_using_subcommand exclude; and not __fish_seen_subcommand_from add remove list help" -l name -d 'What this laptop calls itself, reduced to letters, digits, \'.\', \'_\' and \'-\'; `pair` keeps it [default: the host\'s name]' -r
complete -c berth -n "__fish_berth_using_subcommand exclude; and not __fish_seen_subcommand_from add remove list help" -l radio -d 'How hubs are found: `bluez` (this computer\'s Bluetooth and Wi-Fi), `bluez:ADAPTER` (as in `hci1`), `air:SOCKET` (the air of berth-air) or `none` [default: `none` with --via, else `bluez`]' -r
complete -c berth -n "__fish_berth_using_subcommand exclude; and not __fish_seen_subcommand_from add remove list help" -l via -d 'Reach the hub at this address, over a network that is there, instead of by radio' -r
complete -c berth -n "__fish_berth_using_subcommand exclude; and not __fish_seen_subcommand_from add remove list help" -l json -d 'For scripts: one JSON object for each event, or one answer'
complete -c berth -n "__fish_berth_using_subcommand exclude; and not __fish_seen_subcommand_from add remove list help" -s h -l help -d 'Print help'
complete -c berth -n "__fish_berth_using_subcommand exclude; and not __fish_seen_subcommand_from add remove list help" -f -a "add" -d 'Leave out what this matches'
complete -c berth -n "__fish_berth_using_subcommand exclude; and not __fish_seen_subcommand_from add remove list help" -f -a "remove" -d 'Take a line away'
complete -c berth -n "__fish_berth_using_subcommand exclude; and not __fish_seen_subcommand_from add remove list help" -f -a "list" -d 'Show them, in their order'
complete -c berth -n "__fish_berth_using_subcommand exclude; and not __fish_seen_subcommand_from add remove list help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c berth -n "__fish_berth_using_subcommand exclude; and __fish_seen_subcommand_from add" -l state -d 'Keeps keys, settings and what is known of the hubs [default: ~/.local/state/berth, or $XDG_STATE_HOME/berth; /var/lib/berth-laptop for root]' -r -F
complete -c berth -n "__fish_berth_using_subcommand exclude; and __fish_seen_subcommand_from add" -l name -d 'What this laptop calls itself, reduced to letters, digits, \'.\', \'_\' and \'-\'; `pair` keeps it [default: the host\'s name]' -r
complete -c berth -n "__fish_berth_using_subcommand exclude; and __fish_seen_subcommand_from add" -l radio -d 'How hubs are found: `bluez` (this computer\'s Bluetooth and Wi-Fi), `bluez:ADAPTER` (as in `hci1`), `air:SOCKET` (the air of berth-air) or `none` [default: `none` with --via, else `bluez`]' -r
complete -c berth -n "__fish_berth_using_subcommand exclude; and __fish_seen_subcommand_from add" -l via -d 'Reach the hub at this address, over a network that is there, instead of by radio' -r
complete -c berth -n "__fish_berth_using_subcommand exclude; and __fish_seen_subcommand_from add" -l json -d 'For scripts: one JSON object for each event, or one answer'
complete -c berth -n "__fish_berth_using_subcommand exclude; and __fish_seen_subcommand_from add" -s h -l help -d 'Print help'
complete -c berth -n "__fish_berth_using_subcommand exclude; and __fish_seen_subcommand_from remove" -l state -d 'Keeps keys, settings and what is known of the hubs [default: ~/.local/state/berth, or $XDG_STATE_HOME/berth; /var/lib/berth-laptop for root]' -r -F
complete -c berth -n "__fish_berth_using_subcommand exclude; and __fish_seen_subcommand_from remove" -l name -d 'What this laptop calls itself, reduced to letters, digits, \'.\', \'_\' and \'-\'; `pair` keeps it [default: the host\'s name]' -r
complete -c berth -n "__fish_berth_using_subcommand exclude; and __fish_seen_subcommand_from remove" -l radio -d 'How hubs are found: `bluez` (this computer\'s Bluetooth and Wi-Fi), `bluez:ADAPTER` (as in `hci1`), `air:SOCKET` (the air of berth-air) or `none` [default: `none` with --via, else `bluez`]' -r
complete -c berth -n "__fish_berth_using_subcommand exclude; and __fish_seen_subcommand_from remove" -l via -d 'Reach the hub at this address, over a network that is there, instead of by radio' -r
complete -c berth -n "__fish_berth_using_subcommand exclude; and __fish_seen_subcommand_from remove" -l json -d 'For scripts: one JSON object for each event, or one answer'
complete -c berth -n "__fish_berth_using_subcommand exclude; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help'
complete -c berth -n "__fish_berth_using_subcommand exclude; and __fish_seen_subcommand_from list" -l state -d 'Keeps keys, settings and what is known of the hubs [default: ~/.local/state/berth, or $XDG_STATE_HOME/berth; /var/lib/berth-laptop for root]' -r -F
complete -c berth -n "__fish_berth_using_subcommand exclude; and __fish_seen_subcommand_from list" -l name -d 'What this laptop calls itself, reduced to letters, digits, \'.\', \'_\' and \'-\'; `pair` keeps it [default: the host\'s name]' -r
complete -c berth -n "__fish_berth_using_subcommand exclude; and __fish_seen_subcommand_from list" -l radio -d 'How hubs are found: `bluez` (this computer\'s Bluetooth and Wi-Fi), `bluez:ADAPTER` (as in `hci1`), `air:SOCKET` (the air of berth-air) or `none` [default: `none` with --via, else `bluez`]' -r
complete -c berth -n "__fish_berth_using_subcommand exclude; and __fish_seen_subcommand_from list" -l via -d 'Reach the hub at this address, over a network that is there, instead of by radio' -r
complete -c berth -n "__fish_berth_using_subcommand exclude; and __fish_seen_subcommand_from list" -l json -d 'For scripts: one JSON object for each event, or one answer'
complete -c berth -n "__fish_berth_using_subcommand exclude; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c berth -n "__fish_berth_using_subcommand exclude; and __fish_seen_subcommand_from help" -f -a "add" -d 'Leave out what this matches'
complete -c berth -n "__fish_berth_using_subcommand exclude; and __fish_seen_subcommand_from help" -f -a "remove" -d 'Take a line away'
complete -c berth -n "__fish_berth_using_subcommand exclude; and __fish_seen_subcommand_from help" -f -a "list" -d 'Show them, in their order'
complete -c berth -n "__fish_berth_using_subcommand exclude; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c berth -n "__fish_berth_using_subcommand leave" -l state -d 'Keeps keys, settings and what is known of the hubs [default: ~/.local/state/berth, or $XDG_STATE_HOME/berth; /var/lib/berth-laptop for root]' -r -F
complete -c berth -n "__fish_berth_using_subcommand leave" -l name -d 'What this laptop calls itself, reduced to letters, digits, \'.\', \'_\' and \'-\'; `pair` keeps it [default: the host\'s name]' -r
complete -c berth -n "__fish_berth_using_subcommand leave" -l radio -d 'How hubs are found: `bluez` (this computer\'s Bluetooth and Wi-Fi), `bluez:ADAPTER` (as in `hci1`), `air:SOCKET` (the air of berth-air) or `none` [default: `none` with --via, else `bluez`]' -r
complete -c berth -n "__fish_berth_using_subcommand leave" -l via -d 'Reach the hub at this address, over a network that is there, instead of by radio' -r
complete -c berth -n "__fish_berth_using_subcommand leave" -l json -d 'For scripts: one JSON object for each event, or one answer'
complete -c berth -n "__fish_berth_using_subcommand leave" -s h -l help -d 'Print help'
complete -c berth -n "__fish_berth_using_subcommand doctor" -l state -d 'Keeps keys, settings and what is known of the hubs [default: ~/.local/state/berth, or $XDG_STATE_HOME/berth; /var/lib/berth-laptop for root]' -r -F
complete -c berth -n "__fish_berth_using_subcommand doctor" -l name -d 'What this laptop calls itself, reduced to letters, digits, \'.\', \'_\' and \'-\'; `pair` keeps it [default: the host\'s name]' -r
complete -c berth -n "__fish_berth_using_subcommand doctor" -l radio -d 'How hubs are found: `bluez` (this computer\'s Bluetooth and Wi-Fi), `bluez:ADAPTER` (as in `hci1`), `air:SOCKET` (the air of berth-air) or `none` [default: `none` with --via, else `bluez`]' -r
complete -c berth -n "__fish_berth_using_subcommand doctor" -l via -d 'Reach the hub at this address, over a network that is there, instead of by radio' -r
complete -c berth -n "__fish_berth_using_subcommand doctor" -l json -d 'For scripts: one JSON object for each event, or one answer'
complete -c berth -n "__fish_berth_using_subcommand doctor" -s h -l help -d 'Print help'
complete -c berth -n "__fish_berth_using_subcommand help; and not __fish_seen_subcommand_from pair backup agent status sets ls cat restore recovery-key folders exclude leave doctor help" -f -a "pair" -d 'Pair with the hub that shows this code. Once for each hub'
complete -c berth -n "__fish_berth_using_subcommand help; and not __fish_seen_subcommand_from pair backup agent status sets ls cat restore recovery-key folders exclude leave doctor help" -f -a "backup" -d 'Back up now, and show how it goes. Ctrl-C ends it with a checkpoint; what has arrived stays'
complete -c berth -n "__fish_berth_using_subcommand help; and not __fish_seen_subcommand_from pair backup agent status sets ls cat restore recovery-key folders exclude leave doctor help" -f -a "agent" -d 'Wait for the hub and back up whenever it is near. One for each state folder'
complete -c berth -n "__fish_berth_using_subcommand help; and not __fish_seen_subcommand_from pair backup agent status sets ls cat restore recovery-key folders exclude leave doctor help" -f -a "status" -d 'What is safe on the hub, what upstream, what was cut, what is overdue'
complete -c berth -n "__fish_berth_using_subcommand help; and not __fish_seen_subcommand_from pair backup agent status sets ls cat restore recovery-key folders exclude leave doctor help" -f -a "sets" -d 'The sets that this laptop knows of, at every hub'
complete -c berth -n "__fish_berth_using_subcommand help; and not __fish_seen_subcommand_from pair backup agent status sets ls cat restore recovery-key folders exclude leave doctor help" -f -a "ls" -d 'List what is in a set, on the hub or, with --from, upstream'
complete -c berth -n "__fish_berth_using_subcommand help; and not __fish_seen_subcommand_from pair backup agent status sets ls cat restore recovery-key folders exclude leave doctor help" -f -a "cat" -d 'Write a file of a set to standard output'
complete -c berth -n "__fish_berth_using_subcommand help; and not __fish_seen_subcommand_from pair backup agent status sets ls cat restore recovery-key folders exclude leave doctor help" -f -a "restore" -d 'Restore files of a set from the hub or, with --from, from the upstream. One that was cut goes on when it is done again'
complete -c berth -n "__fish_berth_using_subcommand help; and not __fish_seen_subcommand_from pair backup agent status sets ls cat restore recovery-key folders exclude leave doctor help" -f -a "recovery-key" -d 'Show the key that opens the backups: write it down and keep it away from this laptop'
complete -c berth -n "__fish_berth_using_subcommand help; and not __fish_seen_subcommand_from pair backup agent status sets ls cat restore recovery-key folders exclude leave doctor help" -f -a "folders" -d 'What is backed up'
complete -c berth -n "__fish_berth_using_subcommand help; and not __fish_seen_subcommand_from pair backup agent status sets ls cat restore recovery-key folders exclude leave doctor help" -f -a "exclude" -d 'What is left out: lines as in a .gitignore file in `/`; later ones win, `!` takes back'
complete -c berth -n "__fish_berth_using_subcommand help; and not __fish_seen_subcommand_from pair backup agent status sets ls cat restore recovery-key folders exclude leave doctor help" -f -a "leave" -d 'End the visit that is under way: a checkpoint, goodbye, and you may go'
complete -c berth -n "__fish_berth_using_subcommand help; and not __fish_seen_subcommand_from pair backup agent status sets ls cat restore recovery-key folders exclude leave doctor help" -f -a "doctor" -d 'Tell what this laptop\'s Bluetooth and Wi-Fi can do, and what to do about what is missing. Changes nothing'
complete -c berth -n "__fish_berth_using_subcommand help; and not __fish_seen_subcommand_from pair backup agent status sets ls cat restore recovery-key folders exclude leave doctor help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c berth -n "__fish_berth_using_subcommand help; and __fish_seen_subcommand_from folders" -f -a "add" -d 'Back this folder up too. The first one takes the place of the default'
complete -c berth -n "__fish_berth_using_subcommand help; and __fish_seen_subcommand_from folders" -f -a "remove" -d 'Do not back this folder up any more. What was backed up stays'
complete -c berth -n "__fish_berth_using_subcommand help; and __fish_seen_subcommand_from folders" -f -a "list" -d 'Show them'
complete -c berth -n "__fish_berth_using_subcommand help; and __fish_seen_subcommand_from exclude" -f -a "add" -d 'Leave out what this matches'
complete -c berth -n "__fish_berth_using_subcommand help; and __fish_seen_subcommand_from exclude" -f -a "remove" -d 'Take a line away'
complete -c berth -n "__fish_berth_using_subcommand help; and __fish_seen_subcommand_from exclude" -f -a "list" -d 'Show them, in their order'
