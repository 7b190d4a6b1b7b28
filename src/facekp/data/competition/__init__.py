"""The competition's files: training.csv, test.csv, IdLookupTable.csv and the submission.

`files` finds them, also inside zip files; `rows` splits them into fields, `pixels` parses the images; `reading` makes a
`FaceTable` of them; `writing` writes the same formats. A fault in a file is one `UserError` that names the file, row,
column and value, and says how to fix it.
"""

from facekp.data.competition.files import MissingFile, competition_files, find_file
from facekp.data.competition.reading import read_test_csv, read_training_csv
from facekp.data.competition.writing import write_submission, write_test, write_training

__all__ = [
    "MissingFile",
    "competition_files",
    "find_file",
    "read_test_csv",
    "read_training_csv",
    "write_submission",
    "write_test",
    "write_training",
]
