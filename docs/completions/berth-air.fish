# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_berth_air_global_optspecs
    string join \n socket= profile= seed= json h/help V/version
end

function __fish_berth_air_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_berth_air_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_berth_air_using_subcommand
    set -l cmd (__fish_berth_air_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c berth-air -n "__fish_berth_air_needs_command" -l socket -d 'Where the air is: a socket that only its owner can use' -r -F
complete -c berth-air -n "__fish_berth_air_needs_command" -l profile -d 'How good links are: perfect, wfd-good, wfd-typical or wfd-poor [default: wfd-typical]' -r
complete -c berth-air -n "__fish_berth_air_needs_command" -l seed -d 'What the air draws from: delays, addresses, names of groups [default: 1]' -r
complete -c berth-air -n "__fish_berth_air_needs_command" -l json -d 'One JSON object a line'
complete -c berth-air -n "__fish_berth_air_needs_command" -s h -l help -d 'Print help'
complete -c berth-air -n "__fish_berth_air_needs_command" -s V -l version -d 'Print version'
complete -c berth-air -n "__fish_berth_air_needs_command" -f -a "ctl" -d 'Steers an air that runs'
complete -c berth-air -n "__fish_berth_air_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c berth-air -n "__fish_berth_air_using_subcommand ctl; and not __fish_seen_subcommand_from near away cut profile trace help" -l socket -d 'Where the air is: a socket that only its owner can use' -r -F
complete -c berth-air -n "__fish_berth_air_using_subcommand ctl; and not __fish_seen_subcommand_from near away cut profile trace help" -l json -d 'One JSON object a line'
complete -c berth-air -n "__fish_berth_air_using_subcommand ctl; and not __fish_seen_subcommand_from near away cut profile trace help" -s h -l help -d 'Print help'
complete -c berth-air -n "__fish_berth_air_using_subcommand ctl; and not __fish_seen_subcommand_from near away cut profile trace help" -f -a "near" -d 'Brings NAME near, where everybody is at the start'
complete -c berth-air -n "__fish_berth_air_using_subcommand ctl; and not __fish_seen_subcommand_from near away cut profile trace help" -f -a "away" -d 'Takes NAME out of everyone\'s range: nothing arrives any more, and each side notices when a real one would'
complete -c berth-air -n "__fish_berth_air_using_subcommand ctl; and not __fish_seen_subcommand_from near away cut profile trace help" -f -a "cut" -d 'Breaks off everything that NAME has open, now and for both sides; it stays near and may connect again at once'
complete -c berth-air -n "__fish_berth_air_using_subcommand ctl; and not __fish_seen_subcommand_from near away cut profile trace help" -f -a "profile" -d 'Gives NAME another profile, from now on and on links that are open; a link is as bad as its worse end'
complete -c berth-air -n "__fish_berth_air_using_subcommand ctl; and not __fish_seen_subcommand_from near away cut profile trace help" -f -a "trace" -d 'Tells what happened so far, one line for each thing'
complete -c berth-air -n "__fish_berth_air_using_subcommand ctl; and not __fish_seen_subcommand_from near away cut profile trace help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c berth-air -n "__fish_berth_air_using_subcommand ctl; and __fish_seen_subcommand_from near" -l socket -d 'Where the air is: a socket that only its owner can use' -r -F
complete -c berth-air -n "__fish_berth_air_using_subcommand ctl; and __fish_seen_subcommand_from near" -l json -d 'One JSON object a line'
complete -c berth-air -n "__fish_berth_air_using_subcommand ctl; and __fish_seen_subcommand_from near" -s h -l help -d 'Print help'
complete -c berth-air -n "__fish_berth_air_using_subcommand ctl; and __fish_seen_subcommand_from away" -l socket -d 'Where the air is: a socket that only its owner can use' -r -F
complete -c berth-air -n "__fish_berth_air_using_subcommand ctl; and __fish_seen_subcommand_from away" -l json -d 'One JSON object a line'
complete -c berth-air -n "__fish_berth_air_using_subcommand ctl; and __fish_seen_subcommand_from away" -s h -l help -d 'Print help'
complete -c berth-air -n "__fish_berth_air_using_subcommand ctl; and __fish_seen_subcommand_from cut" -l socket -d 'Where the air is: a socket that only its owner can use' -r -F
complete -c berth-air -n "__fish_berth_air_using_subcommand ctl; and __fish_seen_subcommand_from cut" -l json -d 'One JSON object a line'
complete -c berth-air -n "__fish_berth_air_using_subcommand ctl; and __fish_seen_subcommand_from cut" -s h -l help -d 'Print help'
complete -c berth-air -n "__fish_berth_air_using_subcommand ctl; and __fish_seen_subcommand_from profile" -l socket -d 'Where the air is: a socket that only its owner can use' -r -F
complete -c berth-air -n "__fish_berth_air_using_subcommand ctl; and __fish_seen_subcommand_from profile" -l json -d 'One JSON object a line'
complete -c berth-air -n "__fish_berth_air_using_subcommand ctl; and __fish_seen_subcommand_from profile" -s h -l help -d 'Print help'
complete -c berth-air -n "__fish_berth_air_using_subcommand ctl; and __fish_seen_subcommand_from trace" -l socket -d 'Where the air is: a socket that only its owner can use' -r -F
complete -c berth-air -n "__fish_berth_air_using_subcommand ctl; and __fish_seen_subcommand_from trace" -l json -d 'One JSON object a line'
complete -c berth-air -n "__fish_berth_air_using_subcommand ctl; and __fish_seen_subcommand_from trace" -s h -l help -d 'Print help'
complete -c berth-air -n "__fish_berth_air_using_subcommand ctl; and __fish_seen_subcommand_from help" -f -a "near" -d 'Brings NAME near, where everybody is at the start'
complete -c berth-air -n "__fish_berth_air_using_subcommand ctl; and __fish_seen_subcommand_from help" -f -a "away" -d 'Takes NAME out of everyone\'s range: nothing arrives any more, and each side notices when a real one would'
complete -c berth-air -n "__fish_berth_air_using_subcommand ctl; and __fish_seen_subcommand_from help" -f -a "cut" -d 'Breaks off everything that NAME has open, now and for both sides; it stays near and may connect again at once'
complete -c berth-air -n "__fish_berth_air_using_subcommand ctl; and __fish_seen_subcommand_from help" -f -a "profile" -d 'Gives NAME another profile, from now on and on links that are open; a link is as bad as its worse end'
complete -c berth-air -n "__fish_berth_air_using_subcommand ctl; and __fish_seen_subcommand_from help" -f -a "trace" -d 'Tells what happened so far, one line for each thing'
complete -c berth-air -n "__fish_berth_air_using_subcommand ctl; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c berth-air -n "__fish_berth_air_using_subcommand help; and not __fish_seen_subcommand_from ctl help" -f -a "ctl" -d 'Steers an air that runs'
complete -c berth-air -n "__fish_berth_air_using_subcommand help; and not __fish_seen_subcommand_from ctl help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c berth-air -n "__fish_berth_air_using_subcommand help; and __fish_seen_subcommand_from ctl" -f -a "near" -d 'Brings NAME near, where everybody is at the start'
complete -c berth-air -n "__fish_berth_air_using_subcommand help; and __fish_seen_subcommand_from ctl" -f -a "away" -d 'Takes NAME out of everyone\'s range: nothing arrives any more, and each side notices when a real one would'
complete -c berth-air -n "__fish_berth_air_using_subcommand help; and __fish_seen_subcommand_from ctl" -f -a "cut" -d 'Breaks off everything that NAME has open, now and for both sides; it stays near and may connect again at once'
complete -c berth-air -n "__fish_berth_air_using_subcommand help; and __fish_seen_subcommand_from ctl" -f -a "profile" -d 'Gives NAME another profile, from now on and on links that are open; a link is as bad as its worse end'
complete -c berth-air -n "__fish_berth_air_using_subcommand help; and __fish_seen_subcommand_from ctl" -f -a "trace" -d 'Tells what happened so far, one line for each thing'
