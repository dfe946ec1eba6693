package lsg

// TLSOnly is the error with which a gateway refuses a client that speaks no TLS
// to the port where it must.
const TLSOnly = "this port speaks TLS; connect with TLS, or to the gateway's plain port"
