complete -c berthd -l state -d 'Keeps keys, backups and the control socket; made if it is missing [default: /var/lib/berth for root, else ~/.local/state/berth/hub]' -r -F
complete -c berthd -l config -d 'Settings; the flags here go before them' -r -F
complete -c berthd -l name -d 'What the hub is called [default: the name of this computer]' -r
complete -c berthd -l radio -d 'bluez (this computer\'s Bluetooth and Wi-Fi), bluez:ADAPTER (as in hci1), air:SOCKET (simulated, see berth-air) or none [default: bluez]' -r
complete -c berthd -l listen -d 'Take visits at this address too, over a network that is there' -r
complete -c berthd -l upstream -d 'Where sets are forwarded to: a folder or a file:// URL' -r
complete -c berthd -l json -d 'Log as JSON lines'
complete -c berthd -s h -l help -d 'Print help'
complete -c berthd -s V -l version -d 'Print version'
