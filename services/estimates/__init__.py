"""How long a job will take: from past jobs, from a short probe; and how wrong that has been."""
