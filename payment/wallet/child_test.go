package wallet
const childDir = "TORRENTE_WALLET_CHILD"
func child() {}
