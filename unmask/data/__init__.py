"""What the trainings learn from: face folders, packed faces and streams of samples."""
