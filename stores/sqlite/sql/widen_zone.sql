INSERT INTO zones (block, low, high) VALUES (?1, ?2, ?3)
ON CONFLICT (block) DO UPDATE SET low = min(low, excluded.low), high = max(high, excluded.high)
