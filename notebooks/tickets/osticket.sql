-- The tables of osTicket 1.17 that a ticket can be told from, with its names of tables and columns, in the SQL that SQLite and MariaDB share.
-- osTicket itself has more columns; the studies ask for these alone.

CREATE TABLE ost_ticket_status (          -- what `state` says counts: "open", "closed", "archived" or "deleted"
    id INTEGER NOT NULL PRIMARY KEY,
    name VARCHAR(60) NOT NULL,
    state VARCHAR(16)
);
INSERT INTO ost_ticket_status VALUES (1, 'Open', 'open'), (2, 'Resolved', 'closed'), (3, 'Closed', 'closed'), (4, 'Archived', 'archived'),
    (5, 'Deleted', 'deleted');

CREATE TABLE ost_ticket_priority (        -- urgency 1 is the most urgent
    priority_id INTEGER NOT NULL PRIMARY KEY,
    priority VARCHAR(60) NOT NULL,
    priority_urgency INTEGER NOT NULL
);
INSERT INTO ost_ticket_priority VALUES (1, 'low', 4), (2, 'normal', 3), (3, 'high', 2), (4, 'emergency', 1);

CREATE TABLE ost_department (             -- of the people who answer
    id INTEGER NOT NULL PRIMARY KEY,
    name VARCHAR(128) NOT NULL
);

CREATE TABLE ost_help_topic (             -- what a user chooses in the form
    topic_id INTEGER NOT NULL PRIMARY KEY,
    topic VARCHAR(128) NOT NULL
);

CREATE TABLE ost_user (
    id INTEGER NOT NULL PRIMARY KEY,
    default_email_id INTEGER NOT NULL,
    name VARCHAR(128) NOT NULL
);

CREATE TABLE ost_user_email (
    id INTEGER NOT NULL PRIMARY KEY,
    user_id INTEGER NOT NULL,
    address VARCHAR(255) NOT NULL
);

CREATE TABLE ost_ticket (                 -- times are those of the server, without a zone
    ticket_id INTEGER NOT NULL PRIMARY KEY,
    number VARCHAR(20),
    user_id INTEGER NOT NULL,
    status_id INTEGER NOT NULL,
    topic_id INTEGER NOT NULL,
    dept_id INTEGER NOT NULL,
    created DATETIME NOT NULL,
    closed DATETIME,
    lastupdate DATETIME
);
CREATE INDEX ost_ticket_lastupdate ON ost_ticket (lastupdate);

CREATE TABLE ost_ticket__cdata (          -- made by osTicket from its form: priority is a priority_id as text
    ticket_id INTEGER NOT NULL PRIMARY KEY,
    subject MEDIUMTEXT,
    priority MEDIUMTEXT
);

CREATE TABLE ost_thread (                 -- type T: of the ticket object_id; C: of one that was merged into another
    id INTEGER NOT NULL PRIMARY KEY,
    object_id INTEGER NOT NULL,
    object_type CHAR(1) NOT NULL,
    created DATETIME NOT NULL
);
CREATE INDEX ost_thread_object ON ost_thread (object_id);

CREATE TABLE ost_thread_entry (           -- type M: a message of the user, R: a reply of the staff, N: a note among the staff
    id INTEGER NOT NULL PRIMARY KEY,
    thread_id INTEGER NOT NULL,
    type CHAR(1) NOT NULL,
    created DATETIME NOT NULL,
    title VARCHAR(255),
    body MEDIUMTEXT NOT NULL,
    format VARCHAR(16) NOT NULL,
    user_id INTEGER NOT NULL,
    staff_id INTEGER NOT NULL,
    poster VARCHAR(128) NOT NULL
);
CREATE INDEX ost_thread_entry_thread ON ost_thread_entry (thread_id);
