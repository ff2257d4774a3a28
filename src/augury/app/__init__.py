"""The only place that reads the environment and puts objects together: settings, build, cli."""
