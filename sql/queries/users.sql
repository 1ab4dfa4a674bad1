-- name: get_by_id
SELECT id, username, email, role, subscription_type, is_active, created_at, updated_at, password_hash,
    password_is_default, token_version
FROM users WHERE id = :user_id AND left_at IS NULL

-- name: get_for_login
-- the same by the name in comparable form
SELECT id, username, email, role, subscription_type, is_active, created_at, updated_at, password_hash,
    password_is_default, token_version
FROM users WHERE username_key = :username_key

-- name: get_by_email
-- the same by the mail address in comparable form
SELECT id, username, email, role, subscription_type, is_active, created_at, updated_at, password_hash,
    password_is_default, token_version
FROM users WHERE email_key = :email_key AND left_at IS NULL

-- name: get_demo
-- the user of demo-token; never an administrator, even if that account became one
SELECT id, username, role FROM users WHERE username_key = 'demo' AND is_active AND role = 'user'

-- name: find_any
SELECT id FROM users LIMIT 1

-- name: list_with_default_password
SELECT username FROM users WHERE password_is_default AND is_active ORDER BY id

-- name: count_other_admins
SELECT count(*) AS count FROM users WHERE role = 'admin' AND is_active AND id <> :user_id

-- name: list_admin_emails
SELECT email FROM users WHERE role = 'admin' AND is_active ORDER BY id LIMIT 20

-- name: insert
INSERT INTO users (username, username_key, email, email_key, password_hash, password_is_default, role,
    subscription_type, is_active, created_at, updated_at)
VALUES (:username, :username_key, :email, :email_key, :password_hash, :password_is_default, :role,
    :subscription_type, :is_active, :now, :now)
RETURNING id

-- name: update
UPDATE users SET username = :username, username_key = :username_key, email = :email, email_key = :email_key,
    password_hash = :password_hash, password_is_default = :password_is_default, role = :role,
    subscription_type = :subscription_type, is_active = :is_active, token_version = :token_version,
    updated_at = CASE WHEN updated_at > :now THEN updated_at ELSE :now END
WHERE id = :user_id

-- name: leave
-- the row stays for the ledger and the audit. A name in comparable form never begins with a blank, so that this one is
-- nobody's
UPDATE users SET username = 'deleted-' || id, username_key = ' deleted-' || id, email = '',
    email_key = ' deleted-' || id, password_hash = '', password_is_default = 0, role = 'user',
    subscription_type = 'free', is_active = 0, token_version = token_version + 1, left_at = :now,
    updated_at = CASE WHEN updated_at > :now THEN updated_at ELSE :now END
WHERE id = :user_id

-- name: list_disabled
-- of some users; :user_ids is a JSON list
SELECT id FROM users WHERE id IN (SELECT value FROM json_each(:user_ids)) AND NOT is_active

-- name: search
-- one page; :term is a LIKE pattern whose % and _ are escaped
SELECT id, username, email, role, subscription_type, is_active, created_at, updated_at
FROM users
WHERE left_at IS NULL AND (:role IS NULL OR role = :role)
    AND (:term IS NULL OR username LIKE :term ESCAPE '\' OR email LIKE :term ESCAPE '\'
        OR username_key LIKE :key_term ESCAPE '\' OR email_key LIKE :key_term ESCAPE '\')
ORDER BY id LIMIT :limit OFFSET :offset

-- name: count_search
SELECT count(*) AS count FROM users
WHERE left_at IS NULL AND (:role IS NULL OR role = :role)
    AND (:term IS NULL OR username LIKE :term ESCAPE '\' OR email LIKE :term ESCAPE '\'
        OR username_key LIKE :key_term ESCAPE '\' OR email_key LIKE :key_term ESCAPE '\')
