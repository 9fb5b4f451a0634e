bind_addr = "{{ GetPrivateIPs }}"
advertise_addr = "{{ GetPublicIP }}"
bootstrap_expect = 3
http {
  addr = "{{ Nonsense }}"
}
postgres {
  dsn = "host=/tmp user=pgraft"
}
