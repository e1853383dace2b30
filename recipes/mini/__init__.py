"""Recipe of the bundled audio encoder: corpus, teacher, student, export, figures."""
