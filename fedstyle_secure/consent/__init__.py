"""What artists allow to be done with which of their works, said in files beside them and in the pictures."""
