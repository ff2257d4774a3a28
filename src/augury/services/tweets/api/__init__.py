"""The tweet service over HTTP.

``routes`` puts together ``judging`` (a tweet, texts), ``adding_up`` (authors, topics, all tweets) and
``erasing``; ``schemas`` are the bodies, ``responses`` what the document tells of answers and errors.
"""
