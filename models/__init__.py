"""Networks: one encoder per modality, a fusion head with one slice per modality. Independent of the federation."""
