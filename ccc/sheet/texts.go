package sheet

// text is what is printed in one language.
type text struct {
	title, page               string // page has two numbers in it
	serial, site, company     string
	token, code, until, noon  string // noon is how times are written
	todo, compare, enter, own string
}

var texts = map[string]text{
	"de": {
		title: "Bestätigungscodes", page: "Seite %d von %d", serial: "Seriennummer", site: "Standort", company: "Firma",
		token: "Bestätigungscode", code: "Vergleichszahl", until: "Gültig bis", noon: "02.01.2006, 15:04",
		todo:    "1. Verwaltungsseite der Anlage öffnen, als Administrator anmelden und „COMtrexx Control Center“ wählen.",
		compare: "2. Prüfen, ob die Anlage dieselbe Firma und dieselbe Vergleichszahl zeigt.",
		enter:   "3. Nur dann den Code eingeben, mit dem Administrator-Passwort bestätigen und einschalten.",
		own:     "Vertraulich: Nur für den Administrator dieser Anlage.",
	},
	"en": {
		title: "Tokens", page: "Page %d of %d", serial: "Serial number", site: "Site", company: "Company",
		token: "Token", code: "Comparison number", until: "Valid until", noon: "2 Jan 2006, 15:04",
		todo:    "1. Open the administration page of the PBX, sign in as administrator and choose “COMtrexx Control Center”.",
		compare: "2. Check that the PBX shows the same company and the same comparison number.",
		enter:   "3. Only then enter the token, confirm with the administrator's password and switch on.",
		own:     "Confidential: only for the administrator of this PBX.",
	},
	"fr": {
		title: "Codes de confirmation", page: "Page %d sur %d", serial: "Numéro de série", site: "Site", company: "Société",
		token: "Code de confirmation", code: "Numéro de comparaison", until: "Valable jusqu’au", noon: "02/01/2006, 15:04",
		todo:    "1. Ouvrez la page d’administration du système, connectez-vous comme administrateur et choisissez « COMtrexx Control Center ».",
		compare: "2. Vérifiez que le système affiche la même société et le même numéro de comparaison.",
		enter:   "3. Seulement dans ce cas, saisissez le code, confirmez avec le mot de passe de l’administrateur et activez.",
		own:     "Confidentiel : réservé à l’administrateur de ce système.", //nolint:misspell // French
	},
}
