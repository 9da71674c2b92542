"""Find faces in pictures and crop them as FER-2013's were: for live, for preparing data and for predictions."""
